"""The feature extractor: trained once, the same from the same seed, kept whole or not at all."""

import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.prepare import ImageData
from vae_experiments.data.source import Binarization
from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions, Parts
from vae_experiments.errors import InputError
from vae_experiments.evaluation import extractor as extractor_module
from vae_experiments.evaluation import extractor_training
from vae_experiments.evaluation.extractor import FEATURES, Extractor
from vae_experiments.evaluation.extractor_training import extractor_path, load_or_train, train_extractor


def bars(n: int = 400, shape: tuple[int, int, int] = (1, 8, 8), binarization: Binarization = "none") -> ImageData:
    """Noise with a bright upper or lower half, labels 3 and 7; a tenth unlabelled, with either."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 120, (n, *shape), dtype=np.uint8)
    labels = rng.choice([3, 7], n)
    half = shape[1] // 2
    images[labels == 3, :, :half] += 100
    images[labels == 7, :, half:] += 100
    labels[::10] = UNLABELLED
    dataset = ImageDataset("bars", images, labels, {3: "three", 7: "seven"}, source="here")
    rows = np.arange(n)
    return ImageData(dataset, Parts(rows[: n // 2], rows[n // 2 :], rows[:0]), binarization)


def with_labels(data: ImageData, labels: np.ndarray) -> ImageData:
    return replace(data, dataset=replace(data.dataset, labels=labels))


def unit(data: ImageData, rows: np.ndarray) -> np.ndarray:
    return data.images(rows, 0).astype(np.float32) / 255


@pytest.fixture(scope="module")
def trained() -> Extractor:
    return train_extractor(bars(), epochs=4)


def test_digits_are_told_apart_after_two_epochs() -> None:
    data = MNIST5K(split=Fractions())
    dataset = data.load()
    found = train_extractor(ImageData(dataset, data.split.parts(dataset), "none"), epochs=2)
    assert found.accuracy is not None
    assert found.accuracy > 0.85


def test_accuracy_is_the_share_of_labelled_validation_images_classified_rightly(trained: Extractor) -> None:
    data = bars()
    rows = data.parts.val[data.dataset.labels[data.parts.val] != UNLABELLED]
    logits = trained.network(torch.from_numpy(unit(data, rows)))
    guesses = np.array([3, 7])[logits.argmax(1).numpy()]
    assert trained.accuracy == np.mean(guesses == data.dataset.labels[rows])
    assert trained.accuracy > 0.9
    data = with_labels(data, np.where(np.isin(np.arange(400), data.parts.val), UNLABELLED, data.dataset.labels))
    assert train_extractor(data, epochs=1).accuracy is None


def test_the_same_seed_gives_the_same_weights_whatever_else_draws_and_however_many_threads(trained: Extractor) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = train_extractor(bars(), epochs=4)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again.digest == trained.digest
    assert torch.equal(torch.get_rng_state(), before)
    assert train_extractor(bars(), epochs=4, seed=1).digest != trained.digest


def test_only_labelled_training_images_are_learnt_from(trained: Extractor) -> None:
    data = bars()
    images = data.dataset.images.copy()
    images[~np.isin(np.arange(400), data.parts.train) | (data.dataset.labels == UNLABELLED)] = 0
    blank = train_extractor(replace(data, dataset=replace(data.dataset, images=images)), epochs=4)
    assert blank.digest == trained.digest
    assert blank.accuracy != trained.accuracy


def test_drawn_pixels_are_drawn_anew_in_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    as_input = extractor_training.as_input
    monkeypatch.setattr(extractor_training, "as_input", lambda x: (seen.append(x), as_input(x))[1])
    train_extractor(bars(60, binarization="dynamic"), epochs=2)
    first, second, _val = seen  # a batch each
    assert set(np.unique(first)) == {0, 1}
    assert sorted(image.tobytes() for image in first) != sorted(image.tobytes() for image in second)


def test_by_default_every_dataset_takes_about_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor_training, "IMAGES_SEEN", 500)
    assert train_extractor(bars()).epochs == 3  # 180 labelled images, 540 in all
    monkeypatch.setattr(extractor_training, "IMAGES_SEEN", 1)
    assert train_extractor(bars()).epochs == 1


@pytest.mark.parametrize(("classes", "names"), [(0, {}), (1, {3: "three"}), (1, {3: "three", 7: "seven"})])
def test_without_two_classes_there_is_nothing_to_learn(classes: int, names: dict[int, str]) -> None:
    data = with_labels(bars(), np.full(400, 3 if classes else UNLABELLED))
    data = replace(data, dataset=replace(data.dataset, class_names=names))
    with pytest.raises(InputError, match=rf"^dataset bars \(here\): .* labels of {classes} classes.*$"):
        load_or_train(data)
    assert not list(extractor_path(data).parent.glob("*.pt"))


def test_features_are_the_same_in_blocks_of_any_size(trained: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    images = unit(bars(), np.arange(23))
    features = trained.features(images)
    assert features.shape == (23, FEATURES)
    assert features.dtype == np.float32
    np.testing.assert_allclose(trained.features(images.astype(np.float64)), features)
    monkeypatch.setattr(extractor_module, "BLOCK_PIXELS", 5 * 8 * 8)
    np.testing.assert_allclose(trained.features(images), features, atol=1e-5)
    assert trained.features(images[:0]).shape == (0, FEATURES)


def test_features_are_what_the_classes_are_told_apart_by(trained: Extractor) -> None:
    images = unit(bars(), np.arange(10))
    logits = trained.network(torch.from_numpy(images))
    from_features = trained.network.classifier(torch.from_numpy(trained.features(images)))
    torch.testing.assert_close(from_features, logits)


def test_images_of_another_shape_are_refused(trained: Extractor) -> None:
    with pytest.raises(ValueError, match=r"\(1, 8, 9\); the extractor takes \(1, 8, 8\)"):
        trained.features(np.zeros((2, 1, 8, 9), np.float32))


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 5, 7), (3, 64, 48)])
def test_images_of_any_size_have_features(shape: tuple[int, int, int]) -> None:
    data = bars(40, shape)
    found = train_extractor(data, epochs=1)
    assert np.isfinite(found.features(unit(data, np.arange(40)))).all()


def test_what_is_saved_comes_back_the_same(trained: Extractor, tmp_path: Path) -> None:
    trained.save(tmp_path / "new" / "extractor.pt")
    loaded = Extractor.load(tmp_path / "new" / "extractor.pt")
    assert loaded.digest == trained.digest
    assert (loaded.image_shape, loaded.accuracy, loaded.epochs, loaded.seed) == ((1, 8, 8), trained.accuracy, 4, 0)
    images = unit(bars(), np.arange(20))
    np.testing.assert_array_equal(loaded.features(images), trained.features(images))


def test_another_weight_or_layout_is_another_digest(trained: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    other = train_extractor(bars(), epochs=4)
    next(other.network.features.parameters()).view(-1)[0] += 1e-6
    assert len(trained.digest) == 64
    assert other.digest != trained.digest
    monkeypatch.setattr(extractor_module, "LAYOUT", 99)
    assert train_extractor(bars(), epochs=4).digest != trained.digest


def altered(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    saved["content"]["weights"]["classifier.bias"] += 1
    torch.save(saved, path)


def of_another_layout(path: Path) -> None:
    torch.save(torch.load(path, weights_only=True) | {"layout": 99}, path)


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (altered, "does not match its digest"),
    (of_another_layout, "has layout 99"),
    (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is not a whole extractor"),
    (lambda path: path.write_bytes(b""), "is not a whole extractor"),
    (lambda path: torch.save({"weights": 1}, path), "is not an extractor of this program"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGE)
def test_a_damaged_one_is_refused_and_trained_anew(
    damage: Callable[[Path], object], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = bars()
    path, digest = extractor_path(data), load_or_train(data, epochs=1).digest
    damage(path)
    with pytest.raises(InputError, match=says):
        Extractor.load(path)
    assert load_or_train(data, epochs=1).digest == digest
    assert says in caplog.text
    assert Extractor.load(path).digest == digest


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pt: no such extractor"):
        Extractor.load(tmp_path / "nowhere.pt")


def test_one_that_is_there_is_taken_unless_forced() -> None:
    data = bars()
    first = load_or_train(data, epochs=1)
    assert load_or_train(data, epochs=2, seed=1).digest == first.digest
    anew = load_or_train(data, epochs=2, seed=1, force=True)
    assert anew.digest != first.digest
    assert load_or_train(data).digest == anew.digest


def test_each_dataset_split_and_binarisation_has_its_own(tmp_path: Path) -> None:
    data = bars()
    dataset, parts = data.dataset, data.parts
    images = dataset.images.copy()
    images[-1, 0, 0, 0] ^= 1
    others = [
        data,
        replace(data, binarization="dynamic"),
        replace(data, parts=Parts(parts.train[1:], parts.val, parts.test)),
        replace(data, parts=Parts(parts.train[1:], parts.val, parts.train[:1])),
        replace(data, dataset=replace(dataset, images=images)),
        with_labels(data, np.roll(dataset.labels, 1)),
        replace(data, dataset=replace(dataset, name="../my bars")),
    ]
    paths = [extractor_path(other) for other in others]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {tmp_path / "cache/vae-experiments/extractors"}
    assert paths[0].name.startswith("bars-")
    assert extractor_path(bars()) == paths[0]


def test_of_two_commands_at_once_one_trains_and_both_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # The lock is on the file, and as good between threads: the second comes while the first is training.
    data, digests, trainings = bars(), [], []
    begun = threading.Event()

    def slow(*args: object, **more: object) -> Extractor:
        trainings.append(args)
        begun.set()
        second.start()
        second.join(0.3)
        return train_extractor(data, epochs=1)

    second = threading.Thread(target=lambda: digests.append(load_or_train(data).digest))
    monkeypatch.setattr(extractor_training, "train_extractor", slow)
    digests.append(load_or_train(data).digest)
    second.join()
    assert len(trainings) == 1
    assert len(set(digests)) == 1
    assert len(digests) == 2


def test_without_a_cache_it_is_trained_and_not_kept(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert load_or_train(bars(), epochs=1).accuracy is not None
    assert "cannot be kept" in caplog.text


def test_a_full_disk_leaves_the_one_that_was_there(caplog: pytest.LogCaptureFixture) -> None:
    data = bars()
    before = load_or_train(data, epochs=1).digest
    # A limit on the size of files stands in for a disk without room: writes fail part of the way, for real.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limit[1]))
    try:
        anew = load_or_train(data, epochs=1, seed=1, force=True).digest
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be kept" in caplog.text
    assert anew != before
    assert Extractor.load(extractor_path(data)).digest == before


def test_reading_one_runs_no_code_of_the_file(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"layout": 1, "digest": "", "content": Payload()}, tmp_path / "extractor.pt")
    with pytest.raises(InputError, match="is not a whole extractor"):
        Extractor.load(tmp_path / "extractor.pt")
    assert not (tmp_path / "ran").exists()
