import signal

import numpy as np
import pytest
from PIL import Image
from support import TINY, only_folder

from vae_experiments.cli import main
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.film import MOST, draw_film
from vae_experiments.figures.frames import frame_path, keep_frame, read_frame
from vae_experiments.figures.subject import Subject, epoch_manifold
from vae_experiments.training.hooks import Checkpoint


def kept(subject, folder, epochs):
    for epoch in range(1, epochs + 1):
        keep_frame(folder, epoch, epoch_manifold(subject), subject)


@pytest.mark.parametrize(("latent_dim", "palette"), [(1, "default"), (2, "seed"), (5, "default")])
def test_a_film_has_a_picture_of_every_epoch(make_vae, make_data, tmp_path, latent_dim, palette):
    config = FiguresConfig(epoch_manifold_size=3, palette=palette)
    subject = Subject(make_vae(latent_dim), make_data(names=["a", "b"], unlabelled=0.3), config)
    for epoch in (1, 2, 3):
        subject.vae.decoder[0].bias.data += epoch
        subject.vae.decoder[2].bias.data += epoch
        keep_frame(tmp_path, epoch, epoch_manifold(subject), subject)
    path = draw_film(tmp_path, 3, subject, tmp_path / "film.gif")
    with Image.open(path) as film:
        assert film.n_frames == 3
        assert film.info["loop"] == 0
        assert 100 < film.height < film.width < 1000


@pytest.mark.parametrize("channels", [1, 3])
def test_a_frame_holds_the_codes_along_the_manifolds_dimensions(make_vae, make_data, tmp_path, channels):
    shape = (channels, 6, 5)
    subject = Subject(make_vae(4, shape), make_data(shape, names=["a", "b"]), FiguresConfig(epoch_manifold_size=3))
    manifold = epoch_manifold(subject)
    keep_frame(tmp_path, 7, manifold, subject)
    frame = read_frame(frame_path(tmp_path, 7))
    np.testing.assert_array_equal(frame.manifold, manifold)
    np.testing.assert_array_equal(frame.codes, subject.codes.mean[:, list(subject.manifold_dims())])
    np.testing.assert_array_equal(frame.labels, subject.labels)


def test_a_long_run_makes_a_film_of_evenly_spread_epochs(make_vae, make_data, tmp_path):
    subject = Subject(make_vae(), make_data(), FiguresConfig(epoch_manifold_size=2))
    for epoch in range(1, 2 * MOST + 1):
        manifold = np.full((12, 10, 3), epoch * 2, np.uint8)
        keep_frame(tmp_path, epoch, manifold, subject)
    path = draw_film(tmp_path, 2 * MOST, subject, tmp_path / "film.gif")
    with Image.open(path) as film:
        assert film.n_frames == MOST


def test_one_epoch_makes_no_film(make_vae, make_data, tmp_path):
    subject = Subject(make_vae(), make_data(), FiguresConfig(epoch_manifold_size=2))
    kept(subject, tmp_path, 1)
    assert draw_film(tmp_path, 1, subject, tmp_path / "film.gif") is None


def test_a_resumed_runs_film_begins_with_its_first_epoch(monkeypatch):
    def stop(_, run):  # as Ctrl-C does, in the third of four epochs
        if run.state.epoch == 2:
            run.signum = signal.SIGINT

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_step", stop)
        assert main(["train", *TINY, "tracking=off", "trainer.max_epochs=4", "figures.explorer=false"]) != 0
    folder = only_folder()
    frames = sorted(path.name for path in (folder / "film").iterdir())
    assert len(frames) == 2
    assert not (folder / "figures" / "film.gif").exists()
    before = (folder / "film" / frames[0]).read_bytes()
    assert main(["resume", str(folder)]) == 0
    with Image.open(folder / "figures" / "film.gif") as film:
        assert film.n_frames == 4
    assert (folder / "film" / frames[0]).read_bytes() == before
    assert not (folder / "figures" / "explorer.html").exists()
