"""The pictures of a run, each from its subject to a figure; None where there is nothing to show."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_experiments.figures.scatter import Points, latent_scatter
from vae_experiments.figures.subject import Subject
from vae_experiments.figures.tiles import (
    image_grid,
    interpolation_rows,
    labelled_rows,
    manifold_figure,
    reconstruction_pairs,
    traversal_rows,
)
from vae_experiments.generation.codes import principal_components
from vae_experiments.generation.images import (
    class_images,
    interpolations,
    prior_samples,
    reconstructions,
    traversals,
)
from vae_experiments.generation.manifold import manifold, normal_quantiles

COLUMNS = 10  # images in a row
ROWS = 10
PAIRS = 8  # interpolations
MOST_CLASSES = 20  # with a row of their own; of more, as many spread over all of them
TRAVERSED = np.linspace(-3, 3, 11, dtype=np.float32)  # three standard deviations of the prior either way


def dataset_samples(subject: Subject) -> Figure:
    """Training images: a row for each of a few classes, else as they come."""
    dataset, rng = subject.data.dataset, np.random.default_rng(subject.config.seed)
    labels = dataset.labels[subject.data.parts.train]
    shape = " x ".join(map(str, dataset.image_shape))
    note = f"{len(dataset):,} images of {shape} (channels x height x width); drawn from the training part."
    title = "Samples of the dataset"
    present = [label for label in subject.class_names if (labels == label).any()]
    if 1 < len(present) <= MOST_CLASSES:
        rows = [_some(np.flatnonzero(labels == label), COLUMNS, rng) for label in present]
        names = [subject.class_names[label] for label in present]
        return labelled_rows([subject.training_images(row) for row in rows], names, subject.ink, title, note)
    rows_of_any = _some(np.arange(len(labels)), ROWS * COLUMNS, rng)
    return image_grid(subject.training_images(rows_of_any), COLUMNS, subject.ink, title, note)


def reconstructed(subject: Subject) -> Figure:
    """Validation images beside what the decoder makes of their codes."""
    rows = _of_every_class(subject, 4 * COLUMNS)
    originals = subject.images[rows]
    decoded = reconstructions(subject.vae, originals)
    note = "Images of the validation part and, below each, the expected image at its posterior mean."
    return reconstruction_pairs(originals, decoded, min(COLUMNS, len(rows)), subject.ink, note)


def scatter(subject: Subject) -> Figure:
    """Posterior means by class."""
    return latent_scatter(*_scatter(subject))


def scatter_unlabelled(subject: Subject) -> Figure | None:
    """The same with the unlabelled images in grey; None unless there are both kinds."""
    known = np.isin(subject.labels, list(subject.class_names))
    if known.all() or not known.any():
        return None
    return latent_scatter(*_scatter(subject), unlabelled=True)


def manifold_picture(subject: Subject) -> Figure:
    """The decoder's images over normal quantiles of two latent dimensions."""
    vae, n = subject.vae, subject.config.manifold_size
    dims = subject.manifold_dims()
    note = "Expected images at the normal quantiles 0.05 to 0.95"
    if vae.latent_dim == 1:
        note += " of the latent dimension, left to right, then down."
    elif vae.latent_dim == 2:
        note += " of the two latent dimensions."
    else:
        note += (
            f" of the two most active of {vae.latent_dim} latent dimensions ({dims[0] + 1} and "
            f"{dims[1] + 1}), the others at {_rest(subject)}."
        )
    if vae.prior.space == "sphere":
        note += " Each latent is then scaled to length 1."
    images = manifold(vae, n, dims=dims)
    return manifold_figure(images, normal_quantiles(n), dims, subject.manifold_ink, note)


def sampled(subject: Subject) -> Figure:
    """Images of latents drawn from the prior."""
    generator = torch.Generator().manual_seed(subject.config.seed)
    images = prior_samples(subject.vae, ROWS * COLUMNS, generator)
    note = "Expected images of latents drawn from the prior."
    return image_grid(images, COLUMNS, subject.ink, "Samples from the prior", note)


def traversed(subject: Subject) -> Figure:
    """Each latent dimension run from -3 to 3, the most active ones first."""
    total, cap = subject.vae.latent_dim, subject.config.max_traversals
    dims = subject.codes.most_active()[:cap]
    note = "Each row runs one latent dimension through the values at the bottom"
    note += f", the others at {_rest(subject)}; the most active dimensions first." if total > 1 else "."
    if total > cap:
        note += f" The {cap} most active of {total}."
    if subject.vae.prior.space == "sphere":
        note += " Each latent is then scaled to length 1."
    images = traversals(subject.vae, dims, TRAVERSED)
    return traversal_rows(images, dims, TRAVERSED, subject.ink, note)


def interpolated(subject: Subject) -> Figure | None:
    """Images on the way from one validation image to another; None where there is only one."""
    if len(subject.rows) < 2:
        return None
    rows = _of_every_class(subject, 2 * PAIRS)
    pairs = len(rows) // 2
    # Sorted by class, so that the two halves pair different classes wherever there are several.
    start, end = subject.images[rows[:pairs]], subject.images[rows[pairs : 2 * pairs]]
    way = "great circle" if subject.vae.prior.space == "sphere" else "straight line"
    note = f"Expected images on the {way} between the posterior means of two validation images."
    return interpolation_rows(start, interpolations(subject.vae, start, end), end, subject.ink, note)


def classes(subject: Subject) -> Figure | None:
    """New images of every class; None where no encoded image has one."""
    present = [label for label in subject.class_names if (subject.labels == label).any()]
    if not present:
        return None
    chosen = present
    note = "Expected images at draws from q(z | x) of validation images of the class."
    if len(present) > MOST_CLASSES:
        chosen = [present[i] for i in np.linspace(0, len(present) - 1, MOST_CLASSES).astype(int)]
        note += f" {MOST_CLASSES} of {len(present)} classes."
    if subject.codes.drawn is not None and min((subject.labels == label).sum() for label in chosen) < COLUMNS:
        note += f" A class of fewer than {COLUMNS} images shows some twice."
    rng = np.random.default_rng(subject.config.seed)
    images = class_images(subject.vae, subject.codes, subject.labels, chosen, COLUMNS, rng)
    names = [subject.class_names[label] for label in chosen]
    return labelled_rows(list(images), names, subject.ink, "Images of every class", note)


def _rest(subject: Subject) -> str:
    """Where the dimensions stay that a picture does not move, in words."""
    return "zero" if subject.vae.prior.space == "euclidean" else f"{subject.vae.prior.centre()[0].item():.2f}"


def _scatter(subject: Subject) -> tuple[Points, str, str]:
    """The points, the palette and the note of a scatter plot."""
    mean, dim = subject.codes.mean, subject.vae.latent_dim
    note = f"Posterior means of {len(mean):,} validation images"
    frame = None
    if dim == 1:
        positions, axes = mean, ["latent dimension 1"]
        note += "."
    elif dim == 2:
        positions, axes = mean, ["latent dimension 1", "latent dimension 2"]
        frame = float(normal_quantiles(2)[1])
        note += "; the dashed square is the range of the manifold."
    else:
        seen = principal_components(mean)
        positions = seen.points
        shares = [f"{share:.0%} of the variance" for share in seen.explained]
        axes = [f"principal component {i} ({share})" for i, share in enumerate(shares, start=1)]
        note += f", on the first two principal components of their {dim} dimensions."
    points = Points(positions, subject.labels, subject.class_names, tuple(axes), frame)
    return points, subject.config.palette, note


def _some(rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most `count` of the rows, chosen at random."""
    chosen: NDArray[np.int64] = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
    return chosen


def _of_every_class(subject: Subject, count: int) -> NDArray[np.int64]:
    """At most `count` positions among the encoded images, from the classes in turn, ordered by class."""
    rng = np.random.default_rng(subject.config.seed)
    shuffled = rng.permutation(len(subject.labels))
    labels = subject.labels[shuffled]
    # An image's turn: how many of its class come before it.
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turns = np.empty(len(labels), np.int64)
    turns[by_class] = np.arange(len(labels)) - starts
    chosen = shuffled[np.argsort(turns, kind="stable")[:count]]
    return chosen[np.argsort(subject.labels[chosen], kind="stable")]
