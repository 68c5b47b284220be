"""The explorer of a sweep: its best models side by side, at the same latent point."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vae_experiments.comparison.rows import Compared, ranked
from vae_experiments.comparison.sheet import image_identity, load_compared, with_seed
from vae_experiments.figures.explorer.content import WEIGHTS, describe_images, describe_model
from vae_experiments.figures.explorer.page import render_page
from vae_experiments.figures.subject import Subject
from vae_experiments.tracking.config import TrackingConfig

MODELS = 8  # in a page: more are neither seen at once nor decoded at once
POINTS = 1000  # codes of each

log = logging.getLogger(__name__)


def sweep_explorer(
    rows: Sequence[Compared],
    labels: Sequence[str],
    metric: str,
    tracking: TrackingConfig,
    trust: Sequence[str] = (),
    *,
    title: str,
) -> str | None:
    """The page of the best runs, the best first; a run that cannot be read is named in the log.

    Args:
        rows: in any order.
        labels: [len(rows)] what each is called.
        metric: what "best" is of.
        tracking: where the checkpoints of runs are that have no folder on this machine.
        trust: packages whose classes the stored configs may name.
        title: of the page.

    Returns:
        None where no run has a checkpoint, or none of them is to have an explorer (`figures.explorer`).
    """
    names = {id(row): label for row, label in zip(rows, labels, strict=True)}
    trained = [row for row in ranked(rows, metric) if row.best_epoch is not None]
    models: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    places: dict[tuple[str, int], int] = {}  # of images in the page, by what they are and how they were split
    loaded: tuple[str | int, ...] = ()  # what `data` is of: one dataset at a time
    left = 2 * WEIGHTS
    for row in trained:
        if len(models) == MODELS:
            break
        try:
            run = load_compared(row, tracking, trust)
            if not run.config.figures.explorer:
                continue
            figures = replace(run.config.figures, max_points=min(POINTS, run.config.figures.max_points))
            key = (image_identity(run), run.config.seed)
            drawn = key if run.config.dataset.binarization == "static" else key[:1]  # by the seed, or the same for all
            if drawn != loaded:
                loaded, data = drawn, run.data()
            subject = Subject(run.vae(), data, figures)
            value = row.value(metric)
            note = "" if value is None else f"{metric} {value:.2f}"
            label = with_seed(names[id(row)], row)
            model = describe_model(subject, label, note=note, points=POINTS, limit=min(left, WEIGHTS))
            if key not in places:
                images.append(describe_images(subject))
                places[key] = len(images) - 1
        except Exception as error:  # one run's damaged file or missing data is not the others' affair
            log.warning("%s is not in the explorer: %s", row.name, error)
            continue
        models.append(model | {"images": places[key]})
        if model["decoder"] is not None:
            left -= len(model["decoder"]["weights"]) * 3 // 4
    if not models:
        return None
    note = f"The best {len(models)} of {len(trained)} runs." if len(trained) > len(models) else ""
    return render_page(title, models, images, note)
