"""A user's mistake: one line saying what, where, and what to do; exit status 2; nothing started."""

from pathlib import Path

import pytest
import torch
from support import Ended, Vae

ABSENT = "mps" if torch.cuda.is_available() else "cuda"  # no machine has both


def refused_in_one_line(ended: Ended, says: str) -> None:
    assert ended.status == 2, ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("vae: ")]
    assert says in line
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["architecture.latent_dmi=3"], "architecture.latent_dmi: no such key; did you mean 'latent_dim'"),
        (["+architecture.latent_dmi=3"], "architecture.latent_dmi: no such key; did you mean 'latent_dim'"),
        (["architecure=mlp"], "architecure: no such key; did you mean 'architecture'"),
        (["architecture=cnov"], "architecture=cnov: no such option; did you mean 'conv'"),
        (["experiment=smok"], "experiment=smok: no such option; did you mean 'smoke'"),
        (["sede=1"], "sede: no such key"),
        (["+sede=1"], "sede: no such key; did you mean 'seed'"),
        (["architecture.latent_dim=two"], "architecture.latent_dim='two'"),
        (["architecture.latent_dim=0"], "greater than or equal to 1"),
        (["architecture.filters=[8]"], "one stride for each"),
        (["trainer.monitor=val/iw_bound"], "only objective=iwae measures it"),
        (["posterior=von_mises_fisher"], "on the unit sphere"),
        (["objective=free_bits", "prior=mixture"], "standard_normal"),
        (["objective.kl_weight=-1"], "objective.kl_weight"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0"),
        ([f"trainer.device={ABSENT}"], f"trainer.device={ABSENT}: "),
        (["optimizer.lr=-1"], "optimizer.lr=-1: should be greater than or equal to 0"),
        (
            ["optimizer._target_=torch.optim.Adamax", "optimizer.lr=-1", "~optimizer.fused"],
            "optimizer: Adamax refused its arguments: ",
        ),
        (["optimizer._target_=torch.optim.Adamm"], "cannot be imported"),
        (["scheduler=cosine", "+scheduler.maxlr=1"], "scheduler.maxlr: no such key"),
        (["hooks.gallery.colour=1"], "no such key"),
        (["dataset=npz"], "dataset.path"),
        (["dataset=npz", "dataset.path=nowhere.npz"], "nowhere.npz"),
        (["dataset/split=official"], "dataset/split=fractions"),
        (["dataset/split=holdout", "dataset.split.size=5000"], "5000"),
        (["seed=abc"], "seed='abc'"),
        (["architecture.latent_dim="], "architecture.latent_dim"),
        (["a=[1"], "a=[1"),
        (["latest"], "latest: should be key=value"),
        (["name=it's"], "name='it"),
        (["seed=99999999999999999999"], "seed=99999999999999999999"),
        (["hydra.run.dir=/proc/none"], "/proc/none"),
        (["scheduler=null"], "scheduler"),
        (["scheduler=plateau", "trainer.scheduler_interval=step"], "trainer.scheduler_interval=epoch"),
        (["plan=maybe"], "plan=maybe: should be true or false"),
        (["trainer=null"], "trainer=null: a group takes the name of one of its choices"),
        (["trainer=[nonsense]"], "trainer/nonsense: no such file among conf/ and --config-dir"),
    ],
)
def test_is_refused_in_one_line(vae: Vae, overrides: list[str], says: str) -> None:
    ended = vae("train", "experiment=smoke", "tracking=off", *overrides)
    refused_in_one_line(ended, says)
    assert not list(Path().glob("outputs/*/checkpoints"))


STORES = [
    ("ftp://x", "tracking.uri=ftp://x: not a store for runs"),
    ("http://127.0.0.1:9", "http://127.0.0.1:9: no server answers there"),
    ("sqlite:////proc/nowhere/mlflow.db", "/proc/nowhere/mlflow.db"),
]


@pytest.mark.parametrize(("uri", "says"), STORES)
def test_a_store_that_cannot_be_used_is_said_before_anything_is_trained(vae: Vae, uri: str, says: str) -> None:
    ended = vae("train", "experiment=smoke", f"tracking.uri={uri}")
    refused_in_one_line(ended, says)
    assert "epoch" not in ended.err
    assert not list(Path().glob("outputs/*/checkpoints"))
    assert not list(Path().glob("outputs/*/run.json"))  # nothing was begun that could be resumed


@pytest.mark.parametrize(("uri", "says"), STORES)
def test_a_sweep_leaves_nothing_to_resume_where_its_store_cannot_be_used(vae: Vae, uri: str, says: str) -> None:
    ended = vae("train", "-m", "experiment=smoke", "seed=0,1", "sweep.estimate=false", f"tracking.uri={uri}")
    refused_in_one_line(ended, says)
    assert not list(Path().glob("multirun/*/plan.json"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["seed=range(0)"], "seed: has no value to sweep over"),
        (["seed=0,1", "plan=maybe"], "plan=maybe: should be true or false"),
        (["seed=0,1", "tracking.uri=5"], "tracking.uri=5: should be a valid string"),
        (["seed=0,1", "tracking.uri="], "tracking.uri is empty"),
    ],
)
def test_a_sweep_refuses_likewise(vae: Vae, overrides: list[str], says: str) -> None:
    ended = vae("train", "-m", "experiment=smoke", *overrides)
    refused_in_one_line(ended, says)
    assert not list(Path().glob("multirun/*/plan.json"))


@pytest.mark.parametrize("verb", ["generate", "encode"])
@pytest.mark.parametrize(("uri", "says"), STORES)
def test_and_by_the_verbs_that_look_a_run_up_in_it(vae: Vae, verb: str, uri: str, says: str) -> None:
    ended = vae(verb, "latest", f"tracking.uri={uri}")
    assert ended.status == 2, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "did you mean 'train'"),
        (["generate", "what=smaples"], "what="),
        (["generate", "nothing-of-that-name"], "nothing-of-that-name"),
        (["encode", "out=latents.txt"], ".parquet"),
        (["encode", "part=validation"], "part="),
        (["resume", "nowhere"], "nowhere"),
        (["evaluate", "nothing-of-that-name"], "nothing-of-that-name"),
        (["evaluate", "evaluation.what=[everything]"], "evaluation.what"),
        (["doctor", "trainer.device=tpu"], "trainer.device='tpu'"),
    ],
)
def test_every_verb_refuses_likewise(vae: Vae, arguments: list[str], says: str) -> None:
    ended = vae(*arguments)
    assert ended.status == 2, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err
