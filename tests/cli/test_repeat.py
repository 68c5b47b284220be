"""The commands on a run's page, typed into a shell as they stand there."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient
from support import TINY, only_folder, results, run_process

from vae_experiments.runs.folder import RunFolder
from vae_experiments.tracking.journal import read_start

OWN = """
from vae_experiments.models.priors import StandardNormal


class Wide(StandardNormal):
    pass
"""


def page(folder: Path) -> str:
    """What MLflow shows at the top of the run's page."""
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    return str(client.get_run(str(read_start(folder).data["run_id"])).data.tags["mlflow.note.content"])


def commands(text: str) -> list[str]:
    (block,) = text.split("```")[1::2]
    return block.strip().splitlines()


def typed(line: str) -> str:
    """Runs a line in a shell that finds `vae`; returns what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


def closing(said: str, command: str) -> str:
    """The command among a run's last lines."""
    (line,) = [line for line in said.splitlines() if command in line]
    return line[line.index(command) :]


def identity(folder: Path) -> tuple[str, list[dict[str, float]]]:
    """What the run is, by config, data and code, and what came out epoch by epoch."""
    return json.loads((folder / "run.json").read_text())["signature"], results(folder)


def trained(*words: str, torchrun: int = 0) -> None:
    done = run_process("train", *TINY, *words, torchrun=torchrun)
    assert done.status == 0, done.err


def test_a_run_of_odd_words_is_repeated_and_resumed_by_what_its_page_says() -> None:
    odd = ["architecture.filters=[4, 4, 8, 8]", "name='it\\'s \"odd\", no?'", "+optimizer.betas=[0.8,0.99]", "seed=3"]
    trained(*odd, "optimizer.lr=2e-3", "trainer.max_epochs=1", "hydra.run.dir='out of it/a=1, b'")
    folder = Path("out of it/a=1, b")
    repeat, resume, evaluate, generate = commands(page(folder))
    typed(repeat)
    again = only_folder()
    assert identity(again) == identity(folder)
    assert json.loads((again / "run.json").read_text())["name"] == 'it\'s "odd", no?'
    assert "is finished" in typed(resume)
    assert "samples" in typed(generate)
    assert "test/elbo" in typed(evaluate + " evaluation.what=[bound]")


def test_a_run_of_two_processes_is_repeated_by_two() -> None:
    trained("hooks.gallery=null", "hooks.models=null", "hydra.run.dir=two", torchrun=2)
    repeat, resume, *_ = commands(page(Path("two")))
    assert "data-parallel: 2 processes" in typed(repeat)
    assert identity(only_folder()) == identity(Path("two"))
    assert resume.replace("resume two", "train") == repeat.partition(" experiment=")[0]
    assert "is finished" in typed(resume)


def test_a_job_of_a_sweep_is_repeated_alone() -> None:
    fixed = [word for word in TINY if not word.startswith(("architecture.filters=", "trainer.threads="))]
    swept = ["architecture.filters=[4,4,4,4],[4,4,8,8]", "optimizer=adam,rmsprop"]
    done = run_process("train", "-m", *fixed, *swept, "trainer.max_epochs=1", "name='one, two'")
    assert done.status == 0, done.err
    job = only_folder("multirun") / "3"
    (repeat, *_) = commands(page(job))
    typed(repeat)
    assert identity(only_folder()) == identity(job)


def test_a_run_of_configs_and_classes_of_one_s_own_is_repeated_and_read_again() -> None:
    Path("mine.py").write_text(OWN)
    group = Path("my conf/prior")
    group.mkdir(parents=True)
    (group / "wide.yaml").write_text("_target_: mine.Wide\n")
    trained("--config-dir", "my conf", "prior=wide", "trainer.max_epochs=1", "hydra.run.dir=out")
    repeat, resume, evaluate, generate = commands(page(Path("out")))
    assert repeat.startswith("vae train --config-dir 'my conf' ")
    said = typed(repeat)
    again = only_folder()
    assert identity(again) == identity(Path("out"))
    assert "is finished" in typed(resume)
    typed(generate)
    typed(evaluate + " evaluation.what=[bound]")
    # So are the closing lines.
    typed(closing(said, "vae generate"))
    typed(closing(said, "vae train"))
    (other,) = set(Path("outputs").iterdir()) - {again}
    before, after = (RunFolder(folder).config() for folder in (again, other))
    assert after["architecture"].pop("latent_dim") == 8 != before["architecture"].pop("latent_dim")
    assert after == before
