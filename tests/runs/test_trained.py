"""Models put together again from what a checkpoint holds."""

from pathlib import Path
from typing import Any

import assembled
import pytest
import torch
from assembled import start

from vae_experiments.errors import InputError
from vae_experiments.models.layers import Conv2d
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.reference import Reference
from vae_experiments.runs.trained import TrainedRun
from vae_experiments.use.model import TrainedModel


def trained(*keys: str) -> TrainedRun:
    content: dict[str, Any] = start(assembled.composed(*keys)).checkpoint()
    return TrainedRun(Reference(None, Path("r"), "r"), RunConfig.of(content["config"]), content)


@pytest.mark.parametrize("on", [True, False])
def test_its_kernels_lie_in_the_order_that_is_fast_and_are_those_of_the_checkpoint(on: bool) -> None:
    run = trained(f"trainer.channels_last={on}")
    vae = run.vae()
    kernels = [p for p in vae.parameters() if p.dim() == 4]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert all(torch.equal(value, run.content["state"]["vae"][name]) for name, value in vae.state_dict().items())


def test_it_computes_as_it_was_trained() -> None:
    for keys, ways in (("auto", (True, True)), ("plain", (False, False))):
        layers = [m for m in trained(f"trainer={keys}").vae().modules() if isinstance(m, Conv2d)]
        assert {(layer.rewritten, layer.compiled) for layer in layers} == {ways}


def test_a_checkpoint_of_another_network_is_named_and_the_device_not_blamed() -> None:
    run = trained()
    run.content["state"]["vae"] = {f"old.{name}": value for name, value in run.content["state"]["vae"].items()}
    with pytest.raises(InputError, match=r"^r: its checkpoint does not fit the network"):
        TrainedModel.of(run)
