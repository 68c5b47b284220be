"""vae generate: pictures out of a trained model."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MinLen

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.errors import InputError
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)

# What a person asks for: the gallery's picture of it.
PICTURES = {
    "samples": "prior_samples",
    "manifold": "manifold",
    "traversal": "traversals",
    "interpolation": "interpolations",
    "reconstructions": "reconstructions",
    "classes": "class_images",
    "scatter": "latent_scatter",
}
What = Literal["samples", "manifold", "traversal", "interpolation", "reconstructions", "classes", "scatter", "all"]


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """The keys of conf/generate.yaml.

    Args:
        run: REF of the run.
        what: one picture, a list of them, or all.
        out: folder for the files; None for generated/ in the run's folder.
        trust: packages of yours whose classes the stored config may name.
        figures: sizes, colours, and the seed of what is drawn.
        tracking: the store to find the run in, and to add the pictures to.
    """

    run: str = "latest"
    what: What | Annotated[list[What], MinLen(1)] = "all"
    out: str | None = None
    trust: list[str] = field(default_factory=list)
    figures: FiguresConfig = field(default_factory=FiguresConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae generate --help`."""
    run_verb("generate", ref_first(arguments, GenerateConfig), GenerateConfig, generate)


def generate(config: GenerateConfig) -> None:
    """Draws the pictures, says where they are, and adds them to the MLflow run under generated/.

    Raises:
        InputError: no such run, a folder that cannot be written, or a store that cannot be reached.
    """
    from vae_experiments.figures import gallery
    from vae_experiments.figures.style import save_png
    from vae_experiments.figures.subject import Subject
    from vae_experiments.runs.stored import store_of
    from vae_experiments.runs.trained import load_run

    run = load_run(config.run, config.tracking, config.trust)
    wanted = [config.what] if isinstance(config.what, str) else config.what
    names = list(PICTURES) if "all" in wanted else list(dict.fromkeys(wanted))
    out = Path(config.out) if config.out is not None else (run.reference.folder or Path()) / "generated"
    store = store_of(run.reference, config.tracking)
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
    subject = Subject(run.vae(), run.data(), config.figures)
    for name in names:
        figure = gallery.PICTURES[PICTURES[name]](subject)
        if figure is None:
            log.warning("%s: there is nothing to show for this dataset", name)
            continue
        with _writing(out):
            path = save_png(figure, out / f"{name}.png")
        log.info("%s", path)
        if store is not None and run.reference.run_id is not None:
            store.add_artifact(run.reference.run_id, path, "generated")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"out={folder}: {error.strerror}; choose another folder") from error
