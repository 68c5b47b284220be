"""What the page is given: the codes, the decoder and the images, packed."""

import base64
import io
import math
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image

from vae_experiments.figures.explorer.page import render_page
from vae_experiments.figures.explorer.program import UnknownLayerError, program
from vae_experiments.figures.raster import Ink, tile, to_pixels
from vae_experiments.figures.style import class_colours
from vae_experiments.figures.subject import Subject
from vae_experiments.generation.inference import decode_images

POINTS = 3000  # codes in the plane: more only hide each other
WEIGHTS = 4 * 2**20  # bytes of a page's decoders together
NEIGHBOURS = 1000  # training images among which the nearest is looked for
VALUES = 1_500_000  # that they may have together: what is compared and sent with every page
GRID = 16  # pictures along each side of the plane where the decoder is not in the page
NO_LABEL = 2**16 - 1
LARGEST = 65504  # of float16
RAW = Ink()  # levels as they are; the page inverts them where it is light


def explorer(subject: Subject, title: str) -> str:
    """The page of one model."""
    model = describe_model(subject, title) | {"images": 0}
    return render_page(title, [model], [describe_images(subject)])


def describe_model(
    subject: Subject, name: str, *, note: str = "", points: int = POINTS, limit: int = WEIGHTS
) -> dict[str, Any]:
    """A model for the page, ready for JSON.

    Args:
        subject: the model, and the data whose validation part is encoded.
        name: what it is called, any text.
        note: what it reached, any text.
        points: at most so many codes.
        limit: bytes that its decoder's weights may take; a larger one is left out, and the page says so.

    Raises:
        ValueError: a code or an image is not finite.
    """
    vae, codes = subject.vae, subject.codes.mean
    if not np.isfinite(codes).all():
        raise ValueError("the codes hold values that are not finite")
    rng = np.random.default_rng(subject.config.seed)
    chosen = np.sort(rng.permutation(len(codes))[:points])
    low, high = subject.manifold_dims()
    model: dict[str, Any] = {
        "name": name,
        "note": note,
        "latent_dim": vae.latent_dim,
        "space": vae.prior.space,
        "centre": vae.prior.centre().tolist(),
        "plane": [low, high],
        "order": subject.codes.most_active(),
        "codes": _packed(np.clip(codes[chosen], -LARGEST, LARGEST).astype("<f2")),
        "labels": _packed(_positions(subject, subject.labels[chosen])),
        "decoder": None,
    }
    try:
        model["decoder"] = program(vae, codes[chosen], limit)
    except UnknownLayerError as error:
        model["why"] = str(error)
        model["grid"] = _grid(subject, float(np.abs(codes).max(initial=0)))
    return model


def describe_images(subject: Subject) -> dict[str, Any]:
    """Training images and the names and colours of the classes, ready for JSON."""
    channels, height, width = subject.vae.image_shape
    shown = 3 if channels == 3 else 1
    train = subject.data.parts.train
    count = max(1, min(NEIGHBOURS, len(train), VALUES // (shown * height * width)))
    rng = np.random.default_rng(subject.config.seed)
    rows = np.sort(rng.choice(len(train), count, replace=False))
    names = list(subject.class_names.values())
    colours = class_colours(subject.config.palette, len(names))
    return {
        "shape": [height, width, channels],
        "inverted": subject.ink.inverted,
        "classes": [{"name": n, "colour": to_hex(c)} for n, c in zip(names, colours, strict=True)],
        "labels": _packed(_positions(subject, subject.data.dataset.labels[train[rows]])),
        "sheet": _sheet(to_pixels(subject.training_images(rows), RAW), shown),
        "total": len(train),
    }


def _grid(subject: Subject, farthest: float) -> dict[str, Any]:
    """Pictures at even steps over the plane, for a decoder that the page cannot run."""
    vae, (first, second) = subject.vae, subject.manifold_dims()
    reach = 1.0 if vae.prior.space == "sphere" else max(3.0, farthest)
    along = np.linspace(-reach, reach, GRID, dtype=np.float32)
    rows = 1 if vae.latent_dim == 1 else GRID
    z = vae.prior.centre().repeat(rows, GRID, 1)
    z[:, :, first] = torch.from_numpy(along)
    if rows > 1:
        z[:, :, second] = torch.from_numpy(along)[:, None]
    images = decode_images(vae, vae.prior.nearest(z).reshape(rows * GRID, -1))
    shown = 3 if vae.image_shape[0] == 3 else 1
    return {"reach": reach, "columns": GRID, "rows": rows, "sheet": _sheet(to_pixels(images, RAW), shown)}


def _sheet(pixels: NDArray[np.uint8], channels: int) -> dict[str, Any]:
    """Images [N, H, W, 3] as one PNG, row by row."""
    count, height, width, _ = pixels.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, 3), np.uint8)
    cells[:count] = pixels
    sheet = tile(cells.reshape(rows, columns, height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(sheet if channels == 3 else sheet[..., 0]).save(buffer, "PNG")
    return {
        "count": count,
        "columns": columns,
        "channels": channels,
        "png": "data:image/png;base64," + base64.b64encode(buffer.getbuffer()).decode(),
    }


def _positions(subject: Subject, labels: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Where each label stands among the classes; NO_LABEL of those that have none."""
    positions = np.full(len(labels), NO_LABEL, "<u2")
    for position, label in enumerate(subject.class_names):
        positions[labels == label] = position
    return positions


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
