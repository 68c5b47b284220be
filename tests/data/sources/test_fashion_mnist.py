from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data.sources.fashion_mnist import PUBLISHED, FashionMNIST
from vae_experiments.data.splits import Official
from vae_experiments.errors import InputError


def test_it_reads_debians_package_where_that_is_installed() -> None:
    if not PUBLISHED.folders[0].is_dir():
        pytest.skip("dataset-fashion-mnist is not installed")
    dataset = FashionMNIST(root="data/fashion_mnist", split=Official()).load()
    assert np.bincount(dataset.labels).tolist() == [7000] * 10
    assert dataset.class_names[9] == "Ankle boot"


def test_mnists_files_are_not_taken_for_it(tmp_path: Path, monkeypatch) -> None:
    if PUBLISHED.folders[0].is_dir():
        pytest.skip("dataset-fashion-mnist is installed")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nothing listens
    with pytest.raises(InputError, match=r"fashion_mnist: .*dataset-fashion-mnist"):
        FashionMNIST(root=str(tmp_path / "data"), split=Official()).load()
