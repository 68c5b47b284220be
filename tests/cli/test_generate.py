"""vae generate and vae encode: pictures and latents of a trained model."""

import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from support import TINY, Ended, Vae, only_folder, run_process
from torch import Tensor

from vae_experiments.models.posteriors import DiagonalNormal
from vae_experiments.runs.trained import TrainedRun, load_run
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.verbs.generate import PICTURES

OFF = TrackingConfig(enabled=False)
SMALL = ["figures.manifold_size=3", "figures.max_points=60"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of one small run, trained on pixels drawn anew at every step."""
    work = tmp_path_factory.mktemp("trained")
    keys = ["name=digits", "trainer.max_epochs=1", "dataset.binarization=dynamic", "hooks.gallery=null"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        ended = run_process("train", *TINY, *keys, "hooks.models=null")
        assert ended.status == 0, ended.err
    return work


@pytest.fixture
def at(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the run's working directory; the run's folder."""
    monkeypatch.chdir(trained)
    return only_folder().absolute()


def run_of(folder: Path) -> TrainedRun:
    return load_run(str(folder), OFF)


@pytest.fixture(scope="module")
def codes(trained: Path) -> dict[str, Tensor]:
    """Of all images as the model is trained on them, in double precision; not through what the verb encodes with."""
    (folder,) = (trained / "outputs").iterdir()
    run = run_of(folder)
    x = torch.from_numpy(run.data().images(np.arange(5000), run.config.seed))
    with torch.no_grad():
        posterior = run.vae().double().encode(x.double() / 255)
    assert isinstance(posterior, DiagonalNormal)
    return {"mean": posterior.mean, "logvar": posterior.logvar}


def in_mlflow(work: Path) -> set[str]:
    """The pictures in the MLflow run."""
    client = MlflowClient(f"sqlite:///{work}/mlflow.db")
    (run,) = client.search_runs(["1"])
    return {item.path for item in client.list_artifacts(run.info.run_id, "generated")}


def written(folder: Path) -> set[str]:
    """Names of the pictures there, each of which can be looked at."""
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 50
            low, high = image.convert("L").getextrema()
            assert low < high
    return {path.stem for path in folder.iterdir()}


def refusal(ended: Ended) -> str:
    """The one line that a mistake is answered with."""
    assert ended.status == 2, ended.err
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("vae: ")]
    return line


@pytest.mark.parametrize("what", PICTURES)
def test_each_picture_is_drawn_by_its_name(vae: Vae, at: Path, tmp_path: Path, what: str) -> None:
    ended = vae("generate", f"run={at}", f"what={what}", f"out={tmp_path}/new/here", "tracking=off", *SMALL)
    assert ended.status == 0, ended.err
    assert written(tmp_path / "new" / "here") == {what}
    assert f"{tmp_path}/new/here/{what}.png" in ended.err


def test_all_of_them_land_in_the_runs_folder_and_in_its_mlflow_run(vae: Vae, at: Path) -> None:
    ended = vae("generate", "latest", *SMALL)
    assert ended.status == 0, ended.err
    assert written(at / "generated") == set(PICTURES)
    assert in_mlflow(Path.cwd()) == {f"generated/{name}.png" for name in PICTURES}


def test_a_run_elsewhere_is_recorded_where_it_is_recorded(vae: Vae, trained: Path) -> None:
    (folder,) = (trained / "outputs").iterdir()
    ended = vae("generate", str(folder), "what=[samples,manifold]", "out=mine", *SMALL)
    assert ended.status == 0, ended.err
    assert written(Path("mine")) == {"samples", "manifold"}
    assert {"generated/samples.png", "generated/manifold.png"} <= in_mlflow(trained)
    assert {path.name for path in Path().iterdir()} == {"mine"}  # no second store


def test_a_run_that_was_moved_with_its_store_is_recorded_there(vae: Vae, trained: Path, tmp_path: Path) -> None:
    gone, here = tmp_path / "gone", Path.cwd()
    shutil.copytree(trained, here, dirs_exist_ok=True)
    journal = only_folder() / "journal.jsonl"
    journal.write_text(journal.read_text().replace(str(trained), str(gone)))
    ended = vae("generate", str(only_folder()), "what=samples", *SMALL)
    assert ended.status == 0, ended.err
    assert "generated/samples.png" in in_mlflow(here)
    assert not gone.exists()


def test_the_same_command_draws_the_same_picture(vae: Vae, at: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert vae("generate", str(at), "what=samples", f"out={tmp_path / name}", "tracking=off").status == 0
    assert (tmp_path / "a" / "samples.png").read_bytes() == (tmp_path / "b" / "samples.png").read_bytes()


def test_a_run_without_a_record_needs_no_store(vae: Vae, at: Path) -> None:
    copy = Path.cwd() / "copy"
    shutil.copytree(at, copy, ignore=shutil.ignore_patterns("journal.*", "generated"))
    try:
        ended = vae("generate", str(copy), "what=samples", *SMALL)
        assert ended.status == 0, ended.err
        assert written(copy / "generated") == {"samples"}
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["out=taken"], "out=taken: "),
        (["out=taken/below"], "out=taken/below: "),
        (["what=[]"], "what=[]"),
        (["what=[samples,smaples]"], "what"),
        (["tracking.uri=sqlite:///other.db"], "is not in sqlite:///"),
        (["figures.manifold_size=1"], "figures.manifold_size=1"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(vae: Vae, trained: Path, keys: list[str], says: str) -> None:
    (folder,) = (trained / "outputs").iterdir()
    Path("taken").write_text("a file")
    assert says in refusal(vae("generate", str(folder), "what=samples", *keys))
    assert Path("taken").read_text() == "a file"
    assert not list(Path().rglob("*.png"))


@pytest.mark.parametrize("name", ["z.parquet", "z.csv", "z.csv.gz"])
def test_every_image_has_its_row_label_and_code(
    vae: Vae, at: Path, tmp_path: Path, codes: dict[str, Tensor], name: str
) -> None:
    ended = vae("encode", "digits", f"out={tmp_path / name}")
    assert ended.status == 0, ended.err
    table = pd.read_parquet(tmp_path / name) if name.endswith("parquet") else pd.read_csv(tmp_path / name)
    assert list(table) == ["row", "part", "label", "mean_0", "mean_1", "logvar_0", "logvar_1"]
    data = run_of(at).data()
    assert table["row"].tolist() == list(range(5000))
    assert (table["label"] == data.dataset.labels).all()
    for part in ("train", "val", "test"):
        assert table["row"][table["part"] == part].tolist() == sorted(getattr(data.parts, part))
    for kind, expected in codes.items():
        np.testing.assert_allclose(table[[f"{kind}_0", f"{kind}_1"]], expected, atol=1e-5)
    assert not list(tmp_path.glob(".writing-*"))


def test_images_are_encoded_as_the_model_is_trained_on_them(at: Path) -> None:
    data = run_of(at).data()
    assert data.binarization == "dynamic"
    assert len(np.unique(data.dataset.images)) > 100
    assert set(np.unique(data.images(np.arange(100), 0))) == {0, 255}


def test_a_part_alone_has_the_codes_it_has_among_all(vae: Vae, at: Path, tmp_path: Path) -> None:
    for part in ("all", "val"):
        ended = vae("encode", str(at), f"part={part}", f"out={tmp_path}/{part}.parquet", "tracking=off")
        assert ended.status == 0, ended.err
    everything, val = (pd.read_parquet(tmp_path / f"{part}.parquet") for part in ("all", "val"))
    assert set(val["part"]) == {"val"}
    assert len(val) == 100
    expected = everything[everything["part"] == "val"].reset_index(drop=True)
    pd.testing.assert_frame_equal(val, expected, check_exact=False, atol=1e-6)


def table_of_images(path: Path, shape: tuple[int, int], n: int = 20) -> list[str]:
    """Writes grey images with labels 0, 1, 2, 0, ... as CSV; the keys that name them."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, shape[0] * shape[1]))
    frame = pd.DataFrame(pixels, columns=[f"pixel{i}" for i in range(pixels.shape[1])])
    frame.insert(0, "label", np.arange(n) % 3)
    frame.to_csv(path, index=False)
    return ["dataset=csv", f"dataset.train={path}", "dataset/split=fractions"]


def test_other_images_can_be_encoded(vae: Vae, at: Path, tmp_path: Path) -> None:
    keys = table_of_images(tmp_path / "mine.csv", (28, 28))
    ended = vae("encode", str(at), *keys, f"out={tmp_path / 'z.csv'}", "tracking=off")
    assert ended.status == 0, ended.err
    assert "trained with dataset.binarization=dynamic" in ended.err  # and the table is grey
    table = pd.read_csv(tmp_path / "z.csv")
    assert table["label"].tolist() == [i % 3 for i in range(20)]
    with torch.no_grad():
        x = pd.read_csv(tmp_path / "mine.csv").drop(columns="label").to_numpy(np.float32).reshape(-1, 1, 28, 28)
        mean = run_of(at).vae().encode(torch.from_numpy(x / 255)).mean
    np.testing.assert_allclose(table[["mean_0", "mean_1"]], mean, atol=1e-5)


def test_images_of_another_shape_are_refused(vae: Vae, at: Path, tmp_path: Path) -> None:
    keys = table_of_images(tmp_path / "mine.csv", (8, 8))
    line = refusal(vae("encode", str(at), *keys, f"out={tmp_path / 'z.csv'}", "tracking=off"))
    assert "(1, 8, 8)" in line
    assert "(1, 28, 28)" in line
    assert not (tmp_path / "z.csv").exists()


def test_an_empty_part_is_refused(vae: Vae, at: Path, tmp_path: Path) -> None:
    keys = [*table_of_images(tmp_path / "mine.csv", (28, 28))[:2], "dataset.split.size=5", "part=test"]
    assert "part=test: " in refusal(vae("encode", str(at), *keys, f"out={tmp_path / 'z.csv'}", "tracking=off"))


@pytest.mark.parametrize("out", ["nowhere/z.csv", "folder.csv", "folder.parquet"])
def test_a_table_that_cannot_be_written_is_refused(vae: Vae, at: Path, tmp_path: Path, out: str) -> None:
    for name in ("folder.csv", "folder.parquet"):
        (tmp_path / name).mkdir()
    line = refusal(vae("encode", str(at), "part=val", f"out={tmp_path / out}", "tracking=off"))
    assert f"out={tmp_path / out}: " in line
    assert not list(tmp_path.glob(".writing-*"))


def test_a_full_disk_leaves_the_table_that_was_there(vae: Vae, at: Path, tmp_path: Path) -> None:
    (tmp_path / "z.csv").write_text("before")
    # A limit on the size of files stands in for a disk without room: writes fail part of the way, for real.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        ended = vae("encode", str(at), f"out={tmp_path / 'z.csv'}", "tracking=off")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "z.csv: cannot be written" in refusal(ended)
    assert (tmp_path / "z.csv").read_text() == "before"
    assert not list(tmp_path.glob(".writing-*"))
