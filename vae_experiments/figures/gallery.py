"""The gallery: every final picture of a run, drawn into a folder."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from matplotlib.figure import Figure

from vae_experiments.console import QUIET
from vae_experiments.figures import pictures
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.curves import NATS, loss_curves
from vae_experiments.figures.explorer.content import explorer
from vae_experiments.figures.network import PARTS, diagram, summary, svg
from vae_experiments.figures.raster import Pixels
from vae_experiments.figures.style import render, write_png
from vae_experiments.figures.subject import Subject
from vae_experiments.files import write_atomically
from vae_experiments.generation.layers import read_network
from vae_experiments.models.vae import VAE

if TYPE_CHECKING:
    from vae_experiments.data.prepare import ImageData

log = logging.getLogger(__name__)

T = TypeVar("T")

PICTURES: dict[str, Callable[[Subject], Figure | None]] = {
    "dataset_samples": pictures.dataset_samples,
    "reconstructions": pictures.reconstructed,
    "latent_scatter": pictures.scatter,
    "latent_scatter_unlabelled": pictures.scatter_unlabelled,
    "manifold": pictures.manifold_picture,
    "prior_samples": pictures.sampled,
    "traversals": pictures.traversed,
    "interpolations": pictures.interpolated,
    "class_images": pictures.classes,
}


def draw_gallery(
    vae: VAE,
    data: "ImageData",
    history: Sequence[Mapping[str, float]],
    config: FiguresConfig,
    folder: Path,
    unit: str = NATS,
    title: str = "",
) -> list[Path]:
    """Draws every picture of a trained model into `folder` and returns the files written.

    Pictures come from the validation part, samples of the dataset from the training part; the test part is
    not looked at. A picture that cannot be drawn is logged by name and leaves the others as they are.

    Args:
        vae: the model, on any device; its mode is left as it was.
        data: what it was trained on.
        history: one mapping of metrics per epoch, see `loss_curves`.
        config: what to draw.
        folder: made if it is not there.
        unit: of the loss.
        title: of the explorer; the dataset's name if there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subject = Subject(vae, data, config)
    files = _guarded("network", lambda: _network(vae, folder))
    # Compressing a picture takes half as long as drawing it, and needs nothing of Python's: a thread of its own does it
    # meanwhile.
    writer = ThreadPoolExecutor(1)
    try:
        draw: dict[str, Callable[[], Figure | None]] = {"loss_curves": lambda: loss_curves(history, unit)}
        draw |= {name: partial(picture, subject) for name, picture in PICTURES.items()}
        written: dict[str, Future[Path]] = {}
        for name, figure in draw.items():
            for pixels in _guarded(name, partial(_drawn, figure)):
                written[name] = writer.submit(write_png, pixels, folder / f"{name}.png")
        if config.explorer:
            files += _guarded("explorer", lambda: [_explorer(subject, title, folder / "explorer.html")])
        for name, path in written.items():
            files += _guarded(name, partial(_result, path))
    finally:
        writer.shutdown(cancel_futures=True)  # an interrupt waits for one picture, and not for all that are drawn
    return files


def _drawn(draw: Callable[[], Figure | None]) -> list[Pixels]:
    figure = draw()
    return [] if figure is None else [render(figure)]


def _result(path: Future[Path]) -> list[Path]:
    return [path.result()]


def _explorer(subject: Subject, title: str, path: Path) -> Path:
    write_atomically(path, [explorer(subject, title or subject.data.dataset.name).encode()])
    return path


def _network(vae: VAE, folder: Path) -> list[Path]:
    """The summary and the diagrams; the diagrams' sources instead where `dot` is missing."""
    network = read_network(vae)
    files = [folder / "network.txt"]
    files[0].write_text(summary(network), encoding="utf-8")
    for part in PARTS:
        graph = diagram(network, part)
        drawn = svg(graph)
        path = folder / f"network_{part}.{'gv' if drawn is None else 'svg'}"
        path.write_text(graph.source if drawn is None else drawn, encoding="utf-8")
        files.append(path)
    if files[-1].suffix == ".gv":
        log.info(
            "the network's diagrams are left as .gv files in %s: the program `dot` is not installed; install "
            "Graphviz (apt install graphviz, brew install graphviz) and run `dot -Tsvg -O` on them",
            folder,
            extra=QUIET,  # nobody has asked for the diagrams
        )
    return files


def _guarded(name: str, draw: Callable[[], list[T]]) -> list[T]:
    try:
        return draw()
    except Exception as error:
        # A picture is never worth a run; what went wrong is on record with its name.
        log.warning("the picture %s could not be drawn: %s", name, error, exc_info=True)
        return []
