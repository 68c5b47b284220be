"""Runs that fail, each in its own way, and one that does not: what is said of them."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import Vae, only_folder, status_of

# 1,500 digits, a small network, a second or two each.
SMALL = [
    "experiment=smoke",
    "architecture=mlp",
    "architecture.hidden=[64]",
    "architecture.batch_size=100",
    "optimizer.lr=0.01",
    "dataset.split.train=0.3",
    "dataset.split.val=0.1",
    "dataset.split.test=0.6",
    "trainer.threads=1",
    "hooks.gallery=null",
    "hooks.models=null",
    "hooks.unfolding=null",
]
HUNDRED = ["dataset.split.train=0.02", "dataset.split.val=0.04", "dataset.split.test=0.94"]

FAILURES = {
    "collapsed": (
        ["objective.kl_weight=1000", "posterior.initial=0.0", "trainer.max_epochs=4"],
        ["Posterior collapse: the whole latent space says nothing", "Over-regularised", "Try `objective.kl_weight=1`"],
    ),
    "under a mixture as prior": (
        ["objective.kl_weight=1000", "posterior.initial=0.0", "prior=mixture", "trainer.max_epochs=4"],
        ["Posterior collapse: the whole latent space says nothing", "Over-regularised"],
    ),
    "over-regularised": (
        ["objective.kl_weight=8", "architecture.latent_dim=8", "trainer.max_epochs=10"],
        ["Over-regularised: at KL weight 8 ", "a dimension", "Try `objective.kl_weight=4`"],
    ),
    "under-trained": (
        ["trainer.max_epochs=1"],
        ["Under-trained: one epoch", "Aggregate posterior off the prior", "Try `trainer.max_epochs=2`"],
    ),
    "off the prior": (
        ["objective.kl_weight=0.01", "trainer.max_epochs=8"],
        ["Aggregate posterior off the prior", "Try `objective.kl_weight=1`"],
    ),
    "overfitted": (
        [*HUNDRED, "architecture.hidden=[256]", "architecture.latent_dim=8", "trainer.max_epochs=80"],
        ["Overfitting", "on training images and", "optimizer.weight_decay"],
    ),
}


def said(err: str) -> list[str]:
    return [line for line in err.splitlines() if "Diagnosis: " in line]


@pytest.mark.parametrize("how", FAILURES)
def test_a_run_that_fails_is_told_how_and_what_to_try(vae: Vae, how: str) -> None:
    keys, texts = FAILURES[how]
    ended = vae("train", *SMALL, "tracking=off", *keys)
    assert ended.status == 0, ended.err
    lines = said(ended.err)
    for text in texts:
        assert any(text in line for line in lines), lines
    assert "healthy" not in ended.err


def test_a_sound_run_is_called_healthy_in_its_tags_and_its_description(vae: Vae) -> None:
    ended = vae("train", *SMALL, "trainer.max_epochs=12")
    assert ended.status == 0, ended.err
    assert status_of(only_folder()) == "FINISHED"
    assert [line.split("Diagnosis: ")[1].split(".")[0] for line in said(ended.err)] == ["healthy"]
    (run,) = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").search_runs(["1"])
    assert run.data.tags["diagnosis"] == "healthy"
    assert "  \nDiagnosis: healthy" in run.data.tags["mlflow.note.content"]

    for words in ([str(only_folder())], ["all"]):  # as the folder has it, and as the store has it
        out = vae("compare", *words, "sheet=false", "out=comparison").out
        assert " diagnosis " in out
        assert " healthy " in out


def test_a_diagnosis_can_be_left_out(vae: Vae) -> None:
    ended = vae("train", *SMALL, "tracking=off", "trainer.max_epochs=1", "hooks.diagnosis=null")
    assert ended.status == 0, ended.err
    assert not said(ended.err)
