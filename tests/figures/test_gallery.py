import logging
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from vae_experiments.console import ConsoleHandler, log_to_file
from vae_experiments.figures import gallery
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.gallery import PICTURES, draw_gallery
from vae_experiments.figures.subject import Subject
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian, FullGaussian
from vae_experiments.models.priors import StandardNormal

SMALL = FiguresConfig(manifold_size=4, max_traversals=3)
ALWAYS = {
    "network.txt", "loss_curves.png", "dataset_samples.png", "reconstructions.png", "latent_scatter.png",
    "manifold.png", "prior_samples.png", "traversals.png", "interpolations.png", "explorer.html",
}  # fmt: skip
DIAGRAMS = {f"network_{part}.svg" for part in ("encoder", "decoder", "vae")}
LABELLED = {"class_images.png"}
ODD_NAMES = ["$x^{$", "_", "<script>alert(1)</script>", "long " * 60, "new\nline", "\\", "\u202e\u4e2d"]


def _names(paths):
    return {path.name for path in paths if not path.name.startswith("network_")}


@pytest.mark.parametrize(
    ("latent_dim", "shape", "names", "unlabelled", "expected"),
    [
        (1, (1, 7, 5), ["a", "b"], 0.3, ALWAYS | LABELLED | {"latent_scatter_unlabelled.png"}),
        (2, (3, 7, 5), None, 0.0, ALWAYS),
        (2, (1, 1, 1), ["only"], 0.0, ALWAYS | LABELLED),
        (10, (3, 33, 9), ODD_NAMES, 0.3, ALWAYS | LABELLED | {"latent_scatter_unlabelled.png"}),
        (50, (1, 4, 4), [f"{i}" for i in range(1000)], 0.0, ALWAYS | LABELLED),
    ],
)
def test_every_picture_is_drawn_for_any_model_and_data(
    make_vae, make_data, history, tmp_path, caplog, latent_dim, shape, names, unlabelled, expected
):
    data = make_data(shape, 3000 if names and len(names) > 100 else 60, names, unlabelled)
    with caplog.at_level(logging.WARNING):
        files = draw_gallery(make_vae(latent_dim, shape), data, history, SMALL, tmp_path / "figures")
    assert _names(files) == expected
    assert set(files) == set((tmp_path / "figures").iterdir())
    assert not [record for record in caplog.records if "could not be drawn" in record.message]
    for path in files:
        assert 0 < path.stat().st_size < 1_000_000
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert max(image.size) < 3000


def test_a_class_with_a_single_image_has_a_row(make_vae, make_data):
    data = make_data(names=["a", "b", "c"])
    data.dataset.labels[data.parts.val] = 0
    data.dataset.labels[data.parts.val[3]] = 2
    figure = PICTURES["class_images"](Subject(make_vae(), data, SMALL))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "c"]


def test_pictures_of_a_class_that_repeat_are_said_to(make_data):
    data = make_data(names=["a", "b"])
    data.dataset.labels[data.parts.val] = np.repeat([0, 1], [11, 9])
    architecture = MLP(latent_dim=2, hidden=[8])
    for posterior, said in ((FullGaussian, True), (DiagonalGaussian, False)):
        vae = build_vae(architecture, posterior, StandardNormal, Bernoulli(), (1, 6, 5))
        figure = PICTURES["class_images"](Subject(vae, data, SMALL))
        words = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
        assert ("A class of fewer than 10 images shows some twice." in words) == said


def test_one_validation_image_is_enough_for_all_but_interpolations(make_vae, make_data, history, tmp_path):
    data = make_data(n=3, names=["a"])
    assert len(data.parts.val) == 1
    files = draw_gallery(make_vae(4), data, history, SMALL, tmp_path)
    assert _names(files) == (ALWAYS | LABELLED) - {"interpolations.png"}


def test_a_picture_that_fails_is_named_and_costs_no_other(make_vae, make_data, tmp_path, caplog):
    files = draw_gallery(make_vae(), make_data(names=["a", "b"]), [], SMALL, tmp_path)
    assert _names(files) == (ALWAYS | LABELLED) - {"loss_curves.png"}
    (record,) = [record for record in caplog.records if "could not be drawn" in record.message]
    assert "loss_curves" in record.message
    assert "no losses" in record.message


def test_a_picture_that_cannot_be_written_is_named_and_costs_no_other(make_vae, make_data, history, tmp_path, caplog):
    (tmp_path / "manifold.png").mkdir()
    files = draw_gallery(make_vae(), make_data(names=["a", "b"]), history, SMALL, tmp_path)
    assert _names(files) == (ALWAYS | LABELLED) - {"manifold.png"}
    (record,) = [record for record in caplog.records if "could not be drawn" in record.message]
    assert record.args[0] == "manifold"
    assert "Is a directory" in record.message


def test_an_interrupt_leaves_no_half_written_picture(make_vae, make_data, history, tmp_path, monkeypatch):
    def interrupted(subject):
        raise KeyboardInterrupt

    monkeypatch.setitem(PICTURES, "manifold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_gallery(make_vae(), make_data(names=["a", "b"]), history, SMALL, tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in written if name.endswith(".part")]
    assert "traversals.png" not in written
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_a_broken_decoder_leaves_what_needs_no_decoder(make_vae, make_data, history, tmp_path, caplog):
    vae = make_vae()
    vae.decoder[0].weight.data[:] = np.nan
    files = draw_gallery(vae, make_data(names=["a", "b"]), history, SMALL, tmp_path)
    assert _names(files) == {"network.txt", "loss_curves.png", "dataset_samples.png", "latent_scatter.png"}
    failed = {r.args[0] for r in caplog.records if "could not be drawn" in r.message}
    assert failed == {
        "reconstructions", "manifold", "prior_samples", "traversals", "interpolations", "class_images", "explorer",
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_the_diagrams_are_drawn_where_dot_is_installed(make_vae, make_data, history, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "PICTURES", {})
    files = {path.name: path for path in draw_gallery(make_vae(), make_data(), history, SMALL, tmp_path)}
    for name in DIAGRAMS:
        ET.parse(files[name])


def test_without_dot_a_note_in_the_log_and_not_on_the_screen_says_what_to_do(
    make_vae, make_data, history, tmp_path, monkeypatch, caplog, capsys
):
    monkeypatch.setattr(gallery, "PICTURES", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gallery.log, "handlers", [ConsoleHandler()])
    caplog.set_level(logging.INFO)
    with log_to_file(tmp_path / "run.log"):
        files = draw_gallery(make_vae(), make_data(), history, SMALL, tmp_path / "figures")
        gallery.log.info("drawn")
    assert {path.name for path in files} >= {"network.txt", "network_vae.gv", "loss_curves.png"}
    note, _ = (tmp_path / "run.log").read_text().splitlines()
    assert "`dot` is not installed" in note
    assert "apt install graphviz" in note
    assert set(capsys.readouterr().err.splitlines()) == {"drawn"}  # also by handlers that a run before this one left


def test_the_same_model_gives_the_same_files_and_is_left_as_it_was(make_vae, make_data, history, tmp_path):
    vae, data = make_vae(3).train(), make_data(names=["a", "b"], unlabelled=0.3)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = draw_gallery(vae, data, history, SMALL, tmp_path / "a")
    assert torch.rand(1) == expected  # no global generator was touched
    assert all(module.training for module in vae.modules())
    second = draw_gallery(vae, data, history, SMALL, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
