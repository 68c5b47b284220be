import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vae_experiments.generation import codes as module
from vae_experiments.generation.codes import Codes, encode_dataset, principal_components


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (23, 1, 6, 5), dtype=np.uint8)


def test_codes_are_those_of_the_model_whatever_the_block(make_vae, images, monkeypatch):
    vae = make_vae(3)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(images).float() / 255)
    for block in (1, 7, 100):
        monkeypatch.setattr(module, "BLOCK", block)
        codes = encode_dataset(vae, images)
        np.testing.assert_allclose(codes.mean, posterior.mean, atol=1e-5)
        np.testing.assert_allclose(codes.logvar, posterior.logvar, atol=1e-5)
        np.testing.assert_allclose(codes.kl, posterior.kl_to_standard_normal_per_dim(), atol=1e-5)


def test_memory_mapped_images_are_read_block_by_block(make_vae, images, tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    vae = make_vae(2)
    whole = encode_dataset(vae, images).mean
    monkeypatch.setattr(module, "BLOCK", 10)
    sizes = []
    vae.encoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    np.testing.assert_allclose(encode_dataset(vae, mapped).mean, whole, atol=1e-6)
    assert sizes == [10, 10, 3]


def test_no_images_give_no_codes(make_vae, images):
    assert encode_dataset(make_vae(4), images[:0]).mean.shape == (0, 4)


def test_the_mode_of_every_module_is_left_as_it_was(make_vae, images):
    vae = make_vae()
    vae.encoder = nn.Sequential(vae.encoder, nn.Dropout(0.9))
    vae.train()
    vae.decoder.eval()  # a frozen part of a model in training
    before = [module.training for module in vae.modules()]
    first, second = encode_dataset(vae, images), encode_dataset(vae, images)
    np.testing.assert_array_equal(first.mean, second.mean)  # dropout was off
    assert [module.training for module in vae.modules()] == before
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_the_mode_comes_back_after_an_error(make_vae, images):
    vae = make_vae().train()
    with pytest.raises(RuntimeError):
        encode_dataset(vae, images[:, :, :3])
    assert all(module.training for module in vae.modules())


def test_activity_orders_the_dimensions():
    mean = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32) * np.float32([0.1, 3, 0, 1])
    codes = Codes(mean, None, None)
    assert codes.most_active() == [1, 3, 0, 2]
    np.testing.assert_allclose(codes.activity, mean.astype(np.float64).var(axis=0), rtol=1e-6)


def test_a_draw_has_the_posteriors_mean_and_spread():
    mean = np.full((1, 2), 3, np.float32)
    codes = Codes(mean, np.log(np.float32([[0.25, 4]])), None)
    z = codes.draw(np.zeros(40_000, np.int64), np.random.default_rng(0))
    np.testing.assert_allclose(z.mean(axis=0), [3, 3], atol=0.05)
    np.testing.assert_allclose(z.var(axis=0), [0.25, 4], rtol=0.03)


def test_principal_components_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    mean = (rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))).astype(np.float32)
    seen, pca = principal_components(mean), PCA(2).fit(mean)
    np.testing.assert_allclose(np.abs(seen.points), np.abs(pca.transform(mean)), atol=1e-3)
    np.testing.assert_allclose(seen.explained, pca.explained_variance_ratio_, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_principal_components_of_collapsed_or_few_codes_stay_finite(rows):
    seen = principal_components(np.ones((rows, 5), np.float32))
    assert seen.points.shape == (rows, 2)
    np.testing.assert_allclose(seen.points, 0, atol=1e-6)
    assert np.isfinite(seen.explained).all()
