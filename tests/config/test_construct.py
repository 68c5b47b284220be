"""A constructor's signature is its schema: what is wrong is refused by its path, before anything is built."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from annotated_types import Ge

from vae_experiments.config.construct import TRUSTED, Later, construct, find_target
from vae_experiments.errors import InputError
from vae_experiments.models.architectures import Architecture
from vae_experiments.models.priors import Prior
from vae_experiments.objectives import Objective
from vae_experiments.training.config import TrainerConfig

CONV = "vae_experiments.models.architectures.Conv"


@dataclass(frozen=True, kw_only=True)
class Root:
    architecture: Architecture
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    objective: Objective | None = None
    prior: Annotated[Callable[..., Prior], Later("latent_dim", "image_shape")] | None = None
    optimizer: Annotated[Callable[..., Any], Later("params")] | None = None
    parts: dict[str, Objective | None] = field(default_factory=dict)
    seed: Annotated[int, Ge(0)] = 0


Root.__module__ = "vae_experiments.tests"  # checked like the package's own


def of(**sections: Any) -> Root:
    return construct(Root, {"architecture": {"_target_": CONV}, **sections})


def test_builds_typed_objects_at_every_depth() -> None:
    root = of(
        architecture={"_target_": CONV, "latent_dim": 5},
        trainer={"max_epochs": 7},
        objective={
            "_target_": "vae_experiments.objectives.ELBO",
            "kl_weight": {"_target_": "vae_experiments.objectives.LinearWarmup", "length": 3},
        },
        prior={"_target_": "vae_experiments.models.priors.StandardNormal"},
    )
    assert root.architecture.latent_dim == 5
    assert root.trainer.max_epochs == 7
    assert root.objective.kl_weight.length == 3  # type: ignore[union-attr]
    assert root.prior is not None
    assert root.prior(latent_dim=4, image_shape=(1, 8, 8)).latent_dim == 4


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        (
            {"architecture": {"_target_": CONV, "latent_dmi": 2}},
            "architecture.latent_dmi: no such key; did you mean 'latent_dim'",
        ),
        (
            {"architecture": {"_target_": CONV, "latent_dim": "two"}},
            "architecture.latent_dim='two': should be a valid integer",
        ),
        ({"architecture": {"_target_": CONV, "latent_dim": True}}, "architecture.latent_dim=True"),
        (
            {"architecture": {"_target_": CONV, "latent_dim": 0}},
            "architecture.latent_dim=0: should be greater than or equal to 1",
        ),
        ({"architecture": {"_target_": CONV, "latent_dim": 2.5}}, "architecture.latent_dim=2.5"),
        ({"architecture": {"_target_": CONV, "filters": [8, -1]}}, "architecture.filters.1=-1"),
        ({"architecture": {"_target_": CONV, "filters": 8}}, "architecture.filters=8"),
        ({"architecture": {}}, "architecture: needs a _target_"),
        ({"architecture": {"_target_": "vae_experiments.objectives.ELBO"}}, "architecture="),
        ({"architecture": {"_target_": "vae_experiments.models.architectures.Cnov"}}, "cannot be imported"),
        ({"architecture": {"_target_": "Conv"}}, "full name of a class"),
        ({"architecture": {"_target_": "os.getcwd"}}, "is not a class"),
        ({"trainer": {"max_epoch": 3}}, "trainer.max_epoch: no such key; did you mean 'max_epochs'"),
        ({"trainer": {"device": "gpu"}}, "trainer.device='gpu': should be 'auto', 'cpu', 'cuda' or 'mps'"),
        ({"trainer": {"clip_grad_norm": float("nan")}}, "trainer.clip_grad_norm=nan"),
        ({"trainer": 3}, "trainer=3"),
        ({"seed": -1}, "seed=-1"),
        ({"sede": 1}, "sede: no such key; did you mean 'seed'"),
        ({"prior": {"_target_": "vae_experiments.models.priors.StandardNormal", "dim": 2}}, "prior.dim: no such key"),
        ({"optimizer": {"_target_": "torch.optim.Adam", "lrr": 1.0}}, "optimizer.lrr: no such key; did you mean 'lr'"),
        ({"parts": {"a": {"_target_": "vae_experiments.objectives.ELBO", "x": 1}}}, "parts.a.x: no such key"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        of(**sections)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="architecture: is missing"):
        construct(Root, {})


def test_a_foreign_classs_own_refusal_names_the_section() -> None:
    import torch

    component = of(optimizer={"_target_": "torch.optim.Adam", "lr": -1.0}).optimizer
    assert component is not None
    with pytest.raises(InputError, match=r"optimizer: Adam refused its arguments: Invalid learning rate"):
        component(params=[torch.nn.Parameter(torch.zeros(1))])


@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.Popen", "torchx.optim.Adam", "torch.optimizer.Evil", "builtins.eval"]
)
def test_a_stored_config_names_only_trusted_classes(name: str) -> None:
    with pytest.raises(InputError, match="trust"):
        find_target(name, "architecture", TRUSTED)


def test_being_reachable_through_a_trusted_module_is_not_enough() -> None:
    # That module imports pathlib.Path for its own use.
    with pytest.raises(InputError, match="is not trusted"):
        find_target("vae_experiments.training.run.Path", "hooks", TRUSTED)


def test_a_trusted_package_of_the_users_own_is_let_through() -> None:
    assert find_target("collections.OrderedDict", "x", (*TRUSTED, "collections")).__name__ == "OrderedDict"
