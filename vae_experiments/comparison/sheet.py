"""What every run makes of the same validation images and of the same latent points."""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_experiments.comparison.rows import Compared, ranked, repeats
from vae_experiments.data.prepare import prepare
from vae_experiments.errors import InputError
from vae_experiments.figures.contact_sheet import Band, Strip, contact_sheet
from vae_experiments.figures.style import shown
from vae_experiments.generation.images import reconstructions
from vae_experiments.generation.inference import decode_images
from vae_experiments.models.vae import VAE
from vae_experiments.runs.trained import TrainedRun, load_run
from vae_experiments.tracking.config import TrackingConfig

ROWS = 24  # runs on a sheet
PROBED = 500  # images among which one of each class is looked for
IMAGES = 10  # of each kind in a row
SEED = 0  # of which images and which latent points; the same for all sheets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Originals:
    """Validation images that several runs are shown, and the name of their dataset."""

    images: NDArray[np.uint8]
    dataset: str


def draw_sheet(
    rows: Sequence[Compared],
    keys: Sequence[str],
    labels: Sequence[str],
    metric: str,
    tracking: TrackingConfig,
    trust: Sequence[str] = (),
) -> Figure | None:
    """The contact sheet of the best runs; of repeats, where there are too many rows, of the best seed.

    Latent points are draws from a standard normal, the first `latent_dim` numbers of each: runs of one
    latent dimension see the same ones. Runs on other data have originals of their own; those on images of
    another shape than the best run's, and those without a checkpoint yet, are left out and named.

    Args:
        rows: in any order.
        keys: what varied, without the seed.
        labels: [len(rows)] what each is called.
        metric: what "best" is of.
        tracking: where the checkpoints of runs are that have no folder on this machine.
        trust: packages whose classes the stored configs may name.

    Returns:
        None where no run has a checkpoint.
    """
    names = {id(row): label for row, label in zip(rows, labels, strict=True)}
    candidates = [row for row in ranked(rows, metric) if row.best_epoch is not None]
    trained = len(candidates)
    if trained > ROWS:
        candidates = [group[0] for group in repeats(candidates, keys)]
    shape: tuple[int, ...] | None = None
    known: dict[str, _Originals] = {}
    strips: dict[str, list[Strip]] = {}
    unread: list[str] = []
    other_shapes: list[str] = []
    for row in candidates[:ROWS]:
        try:
            run = load_compared(row, tracking, trust)
            vae = run.vae()
            shape = shape or vae.image_shape
            if vae.image_shape != shape:
                other_shapes.append(names[id(row)])
                continue
            data = image_identity(run)
            if data not in known:
                known[data] = _originals(run)
        except Exception as error:  # one run's damaged file or missing data is not the others' affair
            log.warning("%s is not on the contact sheet: %s", row.name, error)
            unread.append(names[id(row)])
            continue
        label = with_seed(names[id(row)], row) if _repeated(row, rows, keys) else names[id(row)]
        made = reconstructions(vae, known[data].images)
        strips.setdefault(data, []).append(Strip(label, made, decode_images(vae, latent_points(vae))))
    if not strips:
        return None
    bands = [
        Band(
            f"originals ({'validation' if len(strips) == 1 else known[data].dataset})",
            known[data].images,
            of,
        )
        for data, of in strips.items()
    ]
    parts = ["Left: the same validation images, reconstructed. Right: the same latent points, decoded."]
    parts += (
        [f"The best {min(ROWS, len(candidates))} of {trained} runs, the best seed of each setting."]
        if trained > ROWS
        else []
    )
    parts += [_named("No checkpoint could be read of", unread), _named("Images of another shape", other_shapes)]
    return contact_sheet(bands, " ".join(part for part in parts if part))


def latent_points(vae: VAE) -> torch.Tensor:
    """The points [IMAGES, latent_dim] that every model decodes."""
    rng = np.random.default_rng(SEED)
    widest = max(1024, vae.latent_dim)
    return torch.from_numpy(rng.standard_normal((widest, IMAGES), dtype=np.float32)[: vae.latent_dim].T.copy())


def load_compared(row: Compared, tracking: TrackingConfig, trust: Sequence[str]) -> TrainedRun:
    """The row's run, from its folder here or from the store; InputError where it has no checkpoint yet."""
    if row.folder is not None:
        return load_run(str(row.folder), tracking, trust)
    if row.run_id is None:
        raise InputError(f"{row.name}: has no checkpoint yet")
    return load_run(row.run_id, tracking, trust)


def with_seed(label: str, row: Compared) -> str:
    """The label, with the run's seed unless it says it."""
    said = row.seed is None or re.search(rf"\bseed={row.seed}\b", label)
    return label if said else f"{label}, seed {row.seed}"


def image_identity(run: TrainedRun) -> str:
    """The same for runs whose images are the same."""
    config: dict[str, Any] = run.content["config"]
    return json.dumps(config["dataset"], sort_keys=True, default=str)


def _originals(run: TrainedRun) -> _Originals:
    """A few images that no model was trained on; drawn pixels by a seed of the sheet's own.

    Of the validation part: whoever chooses a setting by this picture must not have looked at the test part.
    """
    data = prepare(run.config.dataset, SEED)
    drawn = np.random.default_rng(SEED).permutation(data.parts.val)
    labels = data.dataset.labels[drawn]
    # One of each class before a second of any, in label order.
    rank = np.array([np.count_nonzero(labels[:i] == label) for i, label in enumerate(labels[:PROBED])])
    chosen = np.sort(np.lexsort((labels[:PROBED], rank))[:IMAGES])
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    return _Originals(data.images(drawn[chosen], SEED), data.dataset.name)


def _repeated(row: Compared, rows: Sequence[Compared], keys: Sequence[str]) -> bool:
    return any(len(group) > 1 and row in group for group in repeats(rows, keys))


def _named(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}: {'; '.join(shown(name, 40) for name in names[:3])}{more}."
