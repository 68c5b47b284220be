"""A run as the first word after the verb, whatever it is called."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import TINY, Vae, only_folder, status_of

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.verbs.resume import ResumeConfig


@pytest.mark.parametrize("name", ["latent_dim=8 kl_weight=4", "objective.kl_weight=4", "~/no/such=run", "a=b,c={d}"])
def test_a_name_with_an_equals_sign_is_a_run(vae: Vae, name: str) -> None:
    ended = vae("resume", name)
    assert ended.status == 2
    assert f"vae: {name}: no run folder, run id or run name" in ended.err


@pytest.mark.parametrize(
    "word",
    ["force=true", "tracking=off", "tracking.experiment=a b", "~tracking", "+tracking.x=1", "hydra.verbose=true", "-h"],
)
def test_a_key_of_the_verb_is_an_override(word: str) -> None:
    assert ref_first([word, "x"], ResumeConfig) == [word, "x"]


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "it's",
        "'",
        "\\",
        "a\\b\\",
        "\\'\\\\'",
        '"quoted"',
        " blanks within and around ",
        "line\nbreak\t",
        "\u00fc\u4e2d\U0001f600",
        "${seed} \\${seed} $${",
        "[1,2]",
        "{a:1}",
        "null",
        "1e3",
        "a,b",
        "a=b # c",
        "models:/name@alias",
    ],
)
def test_a_name_arrives_as_it_was_typed(name: str) -> None:
    seen: list[ResumeConfig] = []
    run_verb("resume", ref_first([name, "force=true"], ResumeConfig), ResumeConfig, seen.append)
    assert [(config.run, config.force) for config in seen] == [(name, True)]


def test_a_store_given_to_resume_is_where_the_run_goes_on(vae: Vae) -> None:
    trained = vae("train", *TINY, "hooks.gallery=null", "hooks.models=null", "name=moved")
    assert trained.status == 0, trained.err
    Path("moved").mkdir()
    for path in Path().glob("mlflow.db*"):
        shutil.move(path, "moved")
    client = MlflowClient(f"sqlite:///{Path.cwd()}/moved/mlflow.db")
    (run,) = client.search_runs(["1"])
    client.set_terminated(run.info.run_id, "KILLED")
    info = only_folder() / "run.json"
    info.write_text(info.read_text().replace("FINISHED", "KILLED"))
    resumed = vae("resume", "tracking.uri=sqlite:///moved/mlflow.db")
    assert resumed.status == 0, resumed.err
    assert status_of(only_folder()) == "FINISHED"
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert not Path("mlflow.db").exists()
