"""Published image sets of four IDX files: looked for, fetched, and checked by digest."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.download import UnavailableError, fetch
from vae_experiments.data.idx import read_idx, write_idx
from vae_experiments.errors import InputError
from vae_experiments.files import locked

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

Files = dict[str, NDArray[np.uint8]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedSet:
    """Where a set is to be had, and how it is known to be the one.

    Args:
        name: of the dataset.
        class_names: of the labels 0, 1, ...
        sha256: of each of the four files, uncompressed.
        mirrors: HTTPS folders that hold the files gzipped, in the order in which they are tried.
        folders: places on this machine that may hold them as well.
        last_resort: gives all four arrays, or raises UnavailableError.
        advice: what to do where nothing is in reach.
    """

    name: str
    class_names: tuple[str, ...]
    sha256: Mapping[str, str]
    mirrors: tuple[str, ...]
    advice: str
    folders: tuple[Path, ...] = ()
    last_resort: Callable[[], Files] | None = None

    def load(self, root: Path) -> ImageDataset:
        """The set, training part first; what was fetched stays under `root` as uncompressed IDX files.

        Raises InputError, with every reason in one line, where a file is nowhere to be had.
        """
        faults: list[str] = []
        files = self._find(root, faults)
        if missing := self.sha256.keys() - files:
            try:
                with locked(root / ".lock"):
                    files = self._find(root, faults)  # another process may have been quicker
                    self._fetch(root, files, faults)
            except OSError as error:
                raise InputError(
                    f"{self.name}: {root} cannot be written ({error.strerror}): set dataset.root"
                ) from error
            missing = self.sha256.keys() - files
        if missing:
            raise InputError(
                f"{self.name}: {', '.join(sorted(missing))} not under {root} and not to be fetched "
                f"({'; '.join(dict.fromkeys(faults))}): {self.advice}"
            )
        images = np.concatenate([files[TRAIN[0]], files[TEST[0]]])[:, None]
        labels = np.concatenate([files[TRAIN[1]], files[TEST[1]]]).astype(np.int64)
        test = np.arange(len(images)) >= len(files[TRAIN[0]])
        names = dict(enumerate(self.class_names))
        return ImageDataset(self.name, images, labels, names, test, source=str(root))

    def _find(self, root: Path, faults: list[str]) -> Files:
        """Every file that is there and whole, compressed or not, in `root` or where torchvision puts it."""
        found: Files = {}
        for name, sha256 in self.sha256.items():
            folders = (root, root / "raw", *self.folders)
            for path in (folder / (name + suffix) for folder in folders for suffix in ("", ".gz")):
                if path.is_file():
                    try:
                        found[name] = read_idx(path, 1, 3, sha256=sha256)
                        break
                    except InputError as error:
                        faults.append(str(error))
        return found

    def _fetch(self, root: Path, files: Files, faults: list[str]) -> None:
        for fault in dict.fromkeys(faults):
            log.warning("%s: passed over: %s", self.name, fault)
        with tempfile.TemporaryDirectory() as scratch:
            for mirror in self.mirrors:
                try:
                    for name in [name for name in self.sha256 if name not in files]:
                        download = Path(scratch) / f"{name}.gz"
                        fetch(mirror + download.name, download)
                        array = read_idx(download, 1, 3, sha256=self.sha256[name])
                        files[name] = self._keep(root, name, array)
                except (UnavailableError, InputError) as error:
                    faults.append(f"{urlsplit(mirror).hostname}: {error}")
        missing = self.sha256.keys() - files
        if missing and self.last_resort is not None:
            try:
                arrays = self.last_resort()
            except UnavailableError as error:
                faults.append(str(error))
                return
            for name in missing:
                files[name] = self._keep(root, name, arrays[name])

    def _keep(self, root: Path, name: str, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        path = root / name
        if path.exists():  # of the right name, but not the right file: not ours to throw away
            path.replace(path.with_name(f"{name}.bad"))
        write_idx(path, array)
        return read_idx(path, 1, 3, sha256=self.sha256[name])
