"""What each epoch leaves in the run's folder for the training film: an interruption loses nothing. No matplotlib."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_experiments.figures.raster import Pixels, without_colour
from vae_experiments.figures.subject import Subject
from vae_experiments.files import write_atomically


@dataclass(frozen=True)
class Frame:
    """What is kept of an epoch: the manifold as a picture, codes [N, 2] and their labels [N]."""

    manifold: Pixels
    codes: NDArray[np.float32]
    labels: NDArray[np.int64]


def keep_frame(folder: Path, epoch: int, manifold: Pixels, subject: Subject) -> None:
    """Writes the epoch's frame, over one that an interrupted run may have left of it."""
    dims = list(subject.manifold_dims())
    codes = subject.codes.mean[:, dims].copy()
    if subject.vae.latent_dim == 1:
        codes[:, 1] = np.arange(len(codes)) * 0.618034 % 1 * 4 - 2  # spread, for there is no second dimension
    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, manifold=without_colour(manifold), codes=codes, labels=subject.labels)
    write_atomically(frame_path(folder, epoch), [buffer.getbuffer()])


def frame_path(folder: Path, epoch: int) -> Path:
    """Where the epoch's frame is kept."""
    return folder / f"{epoch:05d}.npz"


def read_frame(path: Path) -> Frame:
    """What `keep_frame` wrote."""
    with np.load(path) as kept:
        manifold = kept["manifold"]  # [H, W] where it holds no colour
        if manifold.ndim == 2:
            manifold = np.stack([manifold] * 3, axis=-1)
        return Frame(manifold, kept["codes"], kept["labels"])
