"""A trained model in Python, as files, in the registry and behind HTTP: the same numbers everywhere."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import requests
import torch
from mlflow import MlflowClient
from support import TINY, Vae, only_folder, run_process

import vae_experiments
from vae_experiments.errors import InputError
from vae_experiments.generation.codes import encode_dataset

PAGE = Path(__file__).parents[2] / "docs" / "models-in-use.md"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of one small run, recorded with its models."""
    work = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        whole = ("dataset.split.val=0.1", "dataset.split.test=0.86")  # as many to validate on as the page says
        ended = run_process("train", *TINY, *whole, "name=digits", "trainer.max_epochs=1", "hooks.gallery=null")
        assert ended.status == 0, ended.err
    return work


@pytest.fixture
def at(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the run's working directory; the run's folder."""
    monkeypatch.chdir(trained)
    return only_folder().absolute()


@contextmanager
def serving(*command: str, folder: Path) -> Iterator[str]:
    """A server of MLflow's on loopback, by its own command line."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / f"{port}.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": path}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--port", str(port)], stdout=output, stderr=output,
            env=os.environ | own,
            start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok:
                    break
            except requests.RequestException:
                time.sleep(0.2)
        else:
            pytest.fail(log.read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(60)


def test_a_folder_is_enough(at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    model = vae_experiments.load(str(at))
    assert repr(model) == f"TrainedModel({at.name!r}, images [1, 28, 28], latent_dim 2)"
    images = model.run.data().dataset.images[:300]
    np.testing.assert_array_equal(model.encode(images), encode_dataset(model.vae, images).mean)
    assert list(empty.iterdir()) == []


def test_the_exported_files_compute_what_the_model_does(at: Path, vae: Vae) -> None:
    ended = vae("export", "digits")
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    assert [Path(line.partition("  ")[0]).name for line in lines] == [
        "encoder.onnx", "encoder.pt2", "decoder.onnx", "decoder.pt2",
    ]  # fmt: skip
    assert all(float(re.findall(r"within (\S+) of PyTorch", line)[0]) < 1e-4 for line in lines)
    model = vae_experiments.load("digits")
    rng = np.random.default_rng(0)
    given = {"encoder": rng.random((5, 1, 28, 28), np.float32), "decoder": rng.standard_normal((5, 2), np.float32)}
    expected = {"encoder": model.encode(given["encoder"]), "decoder": model.decode(given["decoder"])}
    for half, x in given.items():
        session = onnxruntime.InferenceSession(at / "exported" / f"{half}.onnx")
        (node,) = session.get_inputs()
        assert node.shape[0] == "batch"
        np.testing.assert_allclose(session.run(None, {node.name: x})[0], expected[half], atol=1e-5)
        program = torch.export.load(at / "exported" / f"{half}.pt2").module()
        np.testing.assert_allclose(program(torch.from_numpy(x)).detach(), expected[half], atol=1e-5)


def test_a_file_beyond_the_tolerance_is_not_kept(at: Path, vae: Vae, tmp_path: Path) -> None:
    out = tmp_path / "strict"
    ended = vae("export", "digits", "format=onnx", "tolerance=1e-12", f"out={out}")
    assert ended.status == 2
    assert re.fullmatch(r"vae: encoder\.onnx: is up to \S+ from the model, .*: it was not kept\n", ended.err)
    assert list(out.iterdir()) == []


def test_without_the_packages_of_onnx_it_is_said_what_to_install(
    at: Path, vae: Vae, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [at.as_posix()])  # where nothing is installed; what is loaded stays
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = vae("export", "digits")
    assert ended.status == 2
    said = (
        "vae: format=onnx needs onnx, onnxscript, onnxruntime: pip install 'vae-experiments[onnx]', or take format=pt2"
    )
    assert ended.err.splitlines()[-1] == said


def test_registered_twice_generated_from_and_served(at: Path, vae: Vae, tmp_path: Path) -> None:
    for again in ("", ", registered before"):
        ended = vae("register", "digits", "name=mine", "alias=champion", "tags={reviewed:true}")
        assert ended.status == 0, ended.err
        assert ended.out.splitlines() == [
            f"models:/mine-encoder@champion  version 1{again}",
            f"models:/mine-decoder@champion  version 1{again}",
        ]
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    (run,) = client.search_runs(["1"])
    for half in ("encoder", "decoder"):
        (version,) = client.search_model_versions(f"name='mine-{half}'")
        assert version.run_id == run.info.run_id
        assert {"run": "digits", "reviewed": "True"}.items() <= version.tags.items()
        assert float(version.tags["best/val_elbo"]) == pytest.approx(run.data.metrics["best/val_elbo"], abs=1e-3)
        assert client.get_model_version_by_alias(f"mine-{half}", "champion").version == version.version

    out = tmp_path / "pictures"
    ended = vae("generate", "models:/mine-decoder@champion", "what=samples", f"out={out}")
    assert ended.status == 0, ended.err
    assert [path.name for path in out.iterdir()] == ["samples.png"]

    model = vae_experiments.load("models:/mine-encoder@champion")
    images = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    codes = model.encode(images)
    for half, given, expected in (("encoder", images, codes), ("decoder", codes, model.decode(codes))):
        uri = f"models:/mine-{half}@champion"
        with serving("models", "serve", "-m", uri, "--env-manager", "local", folder=tmp_path) as address:
            answer = requests.post(f"{address}/invocations", json={"inputs": given.tolist()}, timeout=60)
            np.testing.assert_allclose(np.array(answer.json()["predictions"]), expected, atol=1e-5)


def test_registered_through_a_server(at: Path, vae: Vae, tmp_path: Path) -> None:
    with serving("server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db", folder=tmp_path) as address:
        for _ in range(2):
            ended = vae("register", "digits", "alias=tried", f"tracking.uri={address}")
            assert ended.status == 0, ended.err
        client = MlflowClient(address)
        (version,) = client.search_model_versions("name='vae-decoder'")
        assert client.get_model_version_by_alias("vae-decoder", "tried").version == version.version
        assert vae_experiments.load("models:/vae-decoder@tried", uri=address).name == "digits"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["register", "digits", "alias=latest"], "alias=latest: .* neither 'latest' nor a version"),
        (["register", "digits", "alias=v1"], "alias=v1: "),
        (["register", "digits", "name=a/b"], "name=a/b: "),
        (["register", "digits", "tracking=off"], ".*"),
        (["export", "no-such-run"], "no-such-run: no run folder, run id or run name"),
        (["export", "digits", "format=tflite"], "format='tflite': "),
    ],
)
def test_mistakes_are_said_in_one_line(at: Path, vae: Vae, words: list[str], said: str) -> None:
    ended = vae(*words)
    assert ended.status == 2
    assert re.match(f"vae: {said}", ended.err)
    assert len(ended.err.splitlines()) == 1


def test_a_run_without_logged_models_is_not_registered(vae: Vae) -> None:
    assert (
        vae("train", *TINY, "name=bare", "trainer.max_epochs=1", "hooks.gallery=null", "hooks.models=null").status == 0
    )
    ended = vae("register", "bare")
    assert ended.status == 2
    assert "bare: logged no models to register" in ended.err


def test_load_says_what_is_wrong_in_one_line(at: Path) -> None:
    for arguments, said in (
        ({"ref": "none-such"}, "none-such: "),
        ({"ref": str(at), "device": "nodevice"}, "device=nodevice: "),
    ):
        with pytest.raises(InputError, match=said) as caught:
            vae_experiments.load(**arguments)
        assert "\n" not in str(caught.value)


def test_the_page_works_as_it_is_written(at: Path, vae: Vae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {}
    done = 0
    for kind, block in re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if kind == "python":
            exec(compile(block, PAGE.name, "exec"), names)
            done += 1
        elif block.startswith(("vae export", "vae register", "vae generate")):
            _, *words = shlex.split(block)
            ended = vae(*words)
            assert ended.status == 0, ended.err
            done += 1
    assert done == 11
    labels = names["labels"]
    assert isinstance(labels, np.ndarray)
    assert len(labels) == 500  # as the page says, and of all digits
    assert set(labels) == set(range(10))
    assert [labels[names[name]] for name in ("zero", "one")] == [0, 1]
    assert Path("digits.png").stat().st_size > 5000
