"""What is offered at the end of a line."""

import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import yaml
from mlflow import MlflowClient

from vae_experiments.cli import VERBS
from vae_experiments.completion.answer import answer
from vae_experiments.completion.candidate import Candidate
from vae_experiments.config.paths import conf_dir
from vae_experiments.models.architectures import Conv, ResNet
from vae_experiments.training.config import TrainerConfig


def offered(line: str) -> list[str]:
    return [each.text for each in answer(line, VERBS)]


def make_run(path: str, name: str = "r") -> None:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").touch()
    (folder / "run.json").write_text(f'{{"name": "{name}"}}')


def test_verbs_with_what_they_do() -> None:
    found = answer("vae ", VERBS)
    assert [each for each in found if not each.text.startswith("-")] == [Candidate(*item) for item in VERBS.items()]
    assert offered("vae --in") == ["--install-completion"]
    assert offered("vae --install-completion ") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("group", ["dataset", "architecture", "likelihood", "prior", "experiment", "dataset/split"])
def test_every_choice_of_a_group(group: str) -> None:
    files = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert offered(f"vae train {group}=") == [f"{group}={name}" for name in files]


def test_keys_are_those_of_the_choice_on_the_line() -> None:
    assert set(offered("vae train architecture.")) == {f"architecture.{name}=" for name in Conv.__dataclass_fields__}
    found = offered("vae train architecture=resnet architecture.")
    assert set(found) == {f"architecture.{name}=" for name in ResNet.__dataclass_fields__}
    assert "dataset.split.size=" in offered("vae train dataset/split=holdout dataset.split.")
    assert offered("vae train dataset=csv dataset.he") == ["dataset.height="]
    chosen_by_experiment = yaml.safe_load((conf_dir() / "experiment/smoke.yaml").read_text())["defaults"]
    assert {"override /dataset": "mnist5k"} in chosen_by_experiment
    assert "dataset.root=" not in offered("vae train experiment=smoke dataset.")


def test_a_key_says_its_value_and_its_reason() -> None:
    (found,) = answer("vae train architecture.batch_s", VERBS)
    assert found == Candidate("architecture.batch_size=", "32: images per update", ends=False)


def test_values_that_a_type_counts_up() -> None:
    device = get_args(TrainerConfig.__annotations__["device"])
    assert offered("vae train trainer.device=") == [f"trainer.device={name}" for name in device]
    assert offered("vae train evaluation.after_training=") == [
        "evaluation.after_training=true", "evaluation.after_training=false",
    ]  # fmt: skip
    assert offered("vae export format=") == ["format=onnx", "format=pt2"]
    assert offered("vae generate what=[samples,man") == ["what=[samples,manifold"]
    assert offered("vae train posterior.spread=") == ["posterior.spread=logvar", "posterior.spread=log_sigma"]
    assert offered("vae train architecture.latent_dim=") == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_offers_its_own_keys(verb: str) -> None:
    config = yaml.safe_load((conf_dir() / f"{verb}.yaml").read_text())
    own = {f"{key}=" for key in config if key not in ("defaults", "hydra")}
    assert own <= set(offered(f"vae {verb} "))
    if verb != "train":  # whose typed config has its groups alone
        fields = import_module(f"vae_experiments.verbs.{verb}").__dict__[f"{verb.title()}Config"].__dataclass_fields__
        assert {name.removesuffix("=") for name in own} <= {*fields, "name", "quick"}


def test_runs_are_named_where_one_is_wanted() -> None:
    make_run("outputs/a", "wide")
    make_run("outputs/b", "two words")
    make_run("multirun/s/0", "job-0")
    make_run("multirun/s", "s")
    Path("multirun/s/plan.json").touch()
    runs = {"latest", "best", "outputs/", "multirun/", "wide", "job-0"}
    assert {each.text for each in answer("vae generate ", VERBS) if not each.text.endswith("=")} >= runs
    assert offered("vae generate outputs/") == ["outputs/a", "outputs/b"]  # the second by its folder alone
    assert offered("vae generate two") == []
    assert offered("vae generate multirun/") == ["multirun/s/"]
    assert offered("vae evaluate run=multirun/s/") == ["run=multirun/s/0"]
    assert offered("vae resume multirun/") == ["multirun/s", "multirun/s/"]
    assert offered("vae compare wide multirun/s") == ["multirun/s", "multirun/s/"]
    assert "wide" not in offered("vae generate latest w")  # it is named already
    assert "wide" not in offered("vae train w")


def test_registered_models_by_their_aliases() -> None:
    assert offered("vae generate models:/") == []
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    client.create_registered_model("digits-decoder")
    client.create_model_version("digits-decoder", "file:///nowhere")
    client.set_registered_model_alias("digits-decoder", "champion", "1")
    assert offered("vae generate mod") == ["models:/"]
    assert offered("vae generate models:/") == ["models:/digits-decoder@champion"]


def test_a_folder_of_ones_own_configs_and_classes() -> None:
    Path("mine/architecture").mkdir(parents=True)
    Path("mine/architecture/own.yaml").write_text("_target_: my_nets.Own\nmode: small\n")
    source = "from typing import Literal\nclass Own:\n    def __init__(self, mode: Literal['small', 'large']): ...\n"
    Path("my_nets.py").write_text(source)
    line = "vae train --config-dir mine architecture=own architecture."
    assert offered("vae train --config-dir mine architecture=o") == ["architecture=own"]
    assert offered(line) == ["architecture.mode="]
    assert offered(f"{line}mode=") == ["architecture.mode=small", "architecture.mode=large"]


@pytest.mark.parametrize(
    "line",
    [
        *("", "vae", "vae no-such-verb ", "vae train 'open", 'vae train "', "vae train \\", "vae train ="),
        *("vae train no.such.key=", "vae compare ../../../ no/such/", "vae train dataset=no-such dataset."),
    ],
)
def test_no_line_is_an_error(line: str) -> None:
    answer(line, VERBS)


def test_it_is_quick_and_imports_nothing_heavy() -> None:
    code = """
import sys
from vae_experiments.cli import main
main(["--complete", "bash", sys.argv[1]])
heavy = ("torch", "mlflow", "hydra", "omegaconf", "numpy", "pydantic", "filelock")
print(*(name for name in heavy if name in sys.modules))
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ask = [sys.executable, "-c", code, "vae train trainer.precision="]
    offers, *_, heavy = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert offers == "auto "
    assert heavy == ""
    # Of processor time, on which the machine's other work does not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
