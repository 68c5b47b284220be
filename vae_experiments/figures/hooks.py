"""Hooks that draw: the manifold as it unfolds, the gallery at the end."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.frames import keep_frame
from vae_experiments.figures.raster import Pixels, without_colour
from vae_experiments.figures.subject import Subject, epoch_manifold, glimpse
from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)

FILM = "film"  # the folder of its frames, in the run's


@dataclass(kw_only=True)
class UnfoldingManifold(Hook):
    """A small manifold after epochs 1, 2, 4, 8, ... and the last, as steps of one image; the film has every epoch."""

    figures: FiguresConfig
    _newest: tuple[Pixels, int] | None = field(default=None, init=False)  # with its epoch; None once it is logged

    def on_start(self, run: TrainingRun) -> None:
        if run.state.epoch > 0 and run.state.batch == 0:  # resumed, and that epoch may turn out to be the last
            run.state.vae.eval()
            self.on_epoch_end(run)

    def on_epoch_end(self, run: TrainingRun) -> None:
        if self.figures.epoch_manifold_size == 0:
            return
        try:
            with run.hardware.autocast():  # finer than the eye, twice as fast and more
                subject = glimpse(Subject(run.state.vae, run.data, self.figures))
                picture = epoch_manifold(subject)
                if self.figures.film:
                    keep_frame(run.folder / FILM, run.state.epoch, picture, subject)
        except Exception as error:  # a picture is never worth a run
            log.warning("no manifold of epoch %d: %s", run.state.epoch, error)
        else:
            self._newest = picture, run.state.epoch
            if run.state.epoch.bit_count() == 1:  # two files each: all of a long run's would bury the other artifacts
                self._log(run)

    def on_end(self, run: TrainingRun) -> None:
        self._log(run)

    def _log(self, run: TrainingRun) -> None:
        if self._newest is not None:
            picture, epoch = self._newest
            run.record.log_image(without_colour(picture), "manifold", epoch)
            self._newest = None


@dataclass(kw_only=True)
class Gallery(Hook):
    """Every final picture, of the best epoch's weights, in the run's folder and record."""

    figures: FiguresConfig

    def on_end(self, run: TrainingRun) -> None:
        from vae_experiments.figures.gallery import draw_gallery  # matplotlib takes a while to import

        folder = run.folder / "figures"
        history = [{"epoch": epoch, **metrics} for epoch, metrics in enumerate(run.state.history, start=1)]
        with run.hardware.autocast():
            draw_gallery(run.state.vae, run.data, history, self.figures, folder, run.objective.unit, run.name)
            if self.figures.film:
                _film(run, self.figures, folder)
        run.record.log_artifact(folder)


def _film(run: TrainingRun, figures: FiguresConfig, folder: Path) -> None:
    from vae_experiments.figures.film import draw_film

    try:
        subject = Subject(run.state.vae, run.data, figures)
        draw_film(run.folder / FILM, run.state.epoch, subject, folder / "film.gif")
    except Exception as error:  # as above
        log.warning("the training film could not be made: %s", error, exc_info=True)
