"""The trainer's keys."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

Metric = Literal["val/elbo", "val/loss", "val/reconstruction", "val/kl", "val/iw_bound"]


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, on what, and how carefully to train.

    Args:
        max_epochs: passes over the training part.
        max_steps: updates after which the run ends, in the middle of an epoch if need be; None: max_epochs alone.
        device: auto takes CUDA, then Apple's MPS, then the CPU.
        precision: of the forward pass; auto takes bfloat16 where the hardware multiplies in it.
        cuda_graphs: on CUDA, launch a step as a whole; the same numbers, sooner where the network is small.
        threads: CPU threads; None leaves PyTorch's choice. Part of what makes results repeat to the bit.
        monitor: what "best" means; val/elbo does not move with a schedule, nor does val/iw_bound, which
            objective=iwae has. Higher is better for these two, lower for the others.
        clip_grad_norm: largest norm of the whole gradient; None leaves it as it is.
        scheduler_interval: whether the learning-rate schedule advances by training step or by epoch.
        eval_batch_size: images per validation batch; changes memory and speed, never a figure.
        channels_last: weights and batches in the order of memory in which convolutions are fast.
        rewritten_layers: layers computed in the way that is fast, see models/layers.py; else in PyTorch's.
        kernels: convolutions and dense layers by kernels of our own in bfloat16 (on a CPU with AMX or AVX-512 BF16),
            convolutions in float32 (with AVX-512 or AVX2), the gradient's norm and Adam's updates; gcc compiles them
            when they are first wanted, without one they are PyTorch's.
        keep_memory: on Linux, freed buffers stay with the process; a matter of the whole process.
        flush_denormals: on the CPU, numbers below 1e-38 are zero; a matter of the whole process, too.
    """

    max_epochs: Annotated[int, Ge(1)] = 10
    max_steps: Annotated[int, Ge(1)] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    cuda_graphs: bool = True
    threads: Annotated[int, Ge(1)] | None = None
    monitor: Metric = "val/elbo"
    clip_grad_norm: Annotated[float, Gt(0)] | None = None
    scheduler_interval: Literal["step", "epoch"] = "step"
    eval_batch_size: Annotated[int, Ge(1)] = 500
    channels_last: bool = True
    rewritten_layers: bool = True
    kernels: bool = True
    keep_memory: bool = True
    flush_denormals: bool = True

    def steps(self, per_epoch: int) -> int:
        """Updates in a whole run, of so many per epoch."""
        steps = self.max_epochs * per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def better(self, value: float, than: float) -> bool:
        """Whether one value of the monitored metric beats another."""
        return value > than if self.monitor in ("val/elbo", "val/iw_bound") else value < than
