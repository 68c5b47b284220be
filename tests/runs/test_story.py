"""What a run's page says, of folders as runs leave them."""

import json
import shlex
from pathlib import Path

import pytest
import yaml
from hydra.conf import ConfigSourceInfo
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_experiments.runs.command import of_job, own_configs, single_run, with_other_latent_dim
from vae_experiments.runs.folder import RunFolder, RunInfo
from vae_experiments.runs.story import default_config, note, story
from vae_experiments.tracking.markdown import table_row
from vae_experiments.tracking.names import MAX_NOTE

HISTORY = [{"best/val_elbo": -150.123, "best/val_kl": 4.5, "best/epoch": 1.0, "time/images_per_second": 2012.3}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a run"
    path.mkdir()
    config = json.loads(json.dumps(default_config()))
    config["architecture"]["latent_dim"] = 7
    config["name"] = "mine"
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    RunFolder(path).write_command(["architecture.latent_dim=7", "name='a b'", "hydra.run.dir=out"])
    RunFolder(path).write_info(RunInfo("mine", "x", "FINISHED"))
    (path / "diagnosis.json").write_text(
        json.dumps({"tag": "healthy", "text": "Diagnosis: healthy.", "figures": {"best/active_units": 6.0}})
    )
    return path


def test_an_ended_run_opens_with_its_best_and_its_diagnosis_and_has_its_figures_with_units(folder: Path) -> None:
    text = story(folder, HISTORY)
    best, diagnosis, again = text.split("\n\n")[0].split("  \n")  # above the fold
    assert best.startswith("**Best val/elbo -150.12 nats per image**: KL 4.50,")
    assert diagnosis == "Diagnosis: healthy."
    assert again.startswith("Repeat: `vae train architecture.latent_dim=7 ")
    assert f"resume, had it stopped: `vae resume '{folder}'`" in again
    assert table_row(["bound on the validation images", "-150.12", "nats per image, higher is better"]) in text
    assert table_row(["active latent dimensions", "6", "dimensions"]) in text
    assert table_row(["speed of training", "2,012", "images per second"]) in text


def test_of_several_findings_the_gravest_is_above_the_fold(folder: Path) -> None:
    found = "Diagnosis: Under-trained: a. Try `b`.\nDiagnosis: Overfitting: c. Try `d`."
    (folder / "diagnosis.json").write_text(json.dumps({"text": found}))
    text = story(folder, HISTORY)
    assert "  \nDiagnosis: Under-trained: a. Try `b`.  \n" in text.split("\n\n")[0]
    assert "\n\nFound besides:\n\n- Overfitting: c. Try `d`.\n\n" in text


def test_only_what_differs_from_the_default_and_changes_the_result_is_listed(folder: Path) -> None:
    rows = [line for line in story(folder).splitlines() if line.startswith("| `")]
    default = default_config()["architecture"]["latent_dim"]
    assert rows == [table_row(["`architecture.latent_dim`", "`7`", f"`{default}`"])]


def test_classes_are_told_apart_by_their_names_and_by_their_modules_where_need_be(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    default = config["architecture"]["_target_"]
    for own, here, there in (
        ("mine.Wide", "Wide", default.rpartition(".")[2]),
        (f"mine.{default.rpartition('.')[2]}", f"mine.{default.rpartition('.')[2]}", default),
    ):
        config["architecture"]["_target_"] = own
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        assert table_row(["`architecture._target_`", f"`{here}`", f"`{there}`"]) in story(folder)


def test_folders_are_relative_to_the_one_that_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    text = story(folder)
    assert f"in `{folder.parent}`" in text
    assert "\nvae resume 'a run'" in text


def test_it_says_how_to_repeat_and_how_to_resume(folder: Path) -> None:
    text = story(folder)
    assert shlex.join(["vae", "train", "architecture.latent_dim=7", "name='a b'"]) in text
    assert f"vae resume {shlex.quote(str(folder))}" in text
    assert "hydra.run.dir" not in text  # that folder is taken


@pytest.mark.parametrize(
    ("status", "said"), [("RUNNING", "**Running**"), ("KILLED", "**Stopped** by a signal"), ("FAILED", "`no `` room`")]
)
def test_it_says_how_the_run_stands(folder: Path, status: str, said: str) -> None:
    text = story(folder, HISTORY, status=status, reason="no `` room", epochs=3)
    assert text.startswith("**")
    assert said.replace("``", "''") in text
    assert "1 of 3 epochs done" in text


def test_what_was_measured_afterwards_is_added(folder: Path) -> None:
    (folder / "evaluation").mkdir()
    metrics = {"test/nll_iw500": 98.76, "test/knn_accuracy_100": 0.5, "test/knn_accuracy_100_std": 0.1}
    (folder / "evaluation" / "test.json").write_text(json.dumps({"metrics": metrics}))
    text = story(folder, HISTORY)
    assert table_row(["`test/nll_iw500`", "98.76", "nats per image"]) in text
    assert table_row(["`test/knn_accuracy_100`", "0.5", "share"]) in text
    assert "_std" not in text


def test_it_fits_into_a_tag_whatever_was_typed(folder: Path) -> None:
    RunFolder(folder).write_command(["name=" + 9000 * "x"])
    assert len(story(folder, HISTORY)) <= MAX_NOTE


def test_a_folder_that_cannot_be_read_costs_no_more_than_the_description(folder: Path) -> None:
    (folder / "config.yaml").write_text("[")
    assert note(folder, HISTORY) == {}


def test_a_job_s_command_is_the_sweep_s_with_its_own_values() -> None:
    typed = ["experiment=smoke", "architecture.latent_dim=2,8", "+optimizer.eps=1e-7,1e-8", "sweep.jobs=2", "hydra.x=1"]
    typed += ["+schedule@objective.kl_weight=linear_warmup,cyclical"]
    varied = {"architecture.latent_dim": 8, "optimizer.eps": 1e-8, "schedule@objective.kl_weight": "cyclical"}
    varied |= {"architecture.filters": [4, 8], "objective": "elbo"}
    assert of_job(typed, varied) == [
        "experiment=smoke",
        "architecture.latent_dim=8",
        "+optimizer.eps=1e-08",
        "+schedule@objective.kl_weight=cyclical",
        "architecture.filters=[4,8]",
        "objective=elbo",
    ]


@pytest.mark.parametrize(
    "value",
    [
        "a b", "8", "true", "null", "it's", "a, b", "", "[1]", "a=b", "C:\\x", "val/elbo", "choice(1,2)", "1e-3", " x",
        1e-8, float("inf"), None, True, [1, "a, b"], {"a": [1, 2], "b": "it's"},
    ],
)  # fmt: skip
def test_whatever_value_a_job_has_its_command_gives_it_that(value: object) -> None:
    (word,) = of_job(["key=1,2"], {"key": value})
    read = OverridesParser.create().parse_override(word)
    assert not read.is_sweep_override()
    assert (read.value(), type(read.value())) == (value, type(value))


@pytest.mark.parametrize(
    ("latent_dim", "words", "proposed"),
    [
        (2, ["experiment=smoke", "name=x"], ["experiment=smoke", "architecture.latent_dim=8"]),
        (4, ["architecture.latent_dim=4", "seed=3", "hydra.run.dir=out"], ["seed=3", "architecture.latent_dim=8"]),
        (8, ["architecture=mlp", "architecture.latent_dim=8"], ["architecture=mlp", "architecture.latent_dim=16"]),
    ],
)
def test_the_next_run_that_is_proposed_is_this_one_with_another_latent_dimension(
    folder: Path, latent_dim: int, words: list[str], proposed: list[str]
) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["architecture"]["latent_dim"] = latent_dim
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    RunFolder(folder).write_command(words)
    assert with_other_latent_dim(folder) == proposed


@pytest.mark.parametrize(
    ("searched", "words"),
    [
        (["file://{here}/my conf"], ["--config-dir", "my conf", "experiment=wide"]),
        (["file:///else/where"], ["--config-dir", "/else/where", "experiment=wide"]),
        (["file:///one", "file:///two"], ["experiment=wide", "hydra.searchpath=['file:///one','file:///two']"]),
        (["pkg://mine"], ["experiment=wide", "hydra.searchpath=['pkg://mine']"]),
    ],
)
def test_configs_of_one_s_own_are_named_as_they_were_typed(folder: Path, searched: list[str], words: list[str]) -> None:
    urls = [each.format(here=Path.cwd()).split("://") for each in searched]
    sources = [ConfigSourceInfo(path=path, schema=schema, provider="command-line") for schema, path in urls]
    RunFolder(folder).write_command(["experiment=wide", *own_configs(sources)])
    assert single_run(folder) == words


def test_to_an_architecture_without_that_key_none_is_proposed(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["architecture"] = {"_target_": "mine.Fixed"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert with_other_latent_dim(folder) is None


def test_without_a_written_command_there_is_none(tmp_path: Path) -> None:
    assert single_run(tmp_path) is None
