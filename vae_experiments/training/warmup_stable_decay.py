"""A learning rate that rises, stays, and falls to nothing, each in a straight line."""

from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_experiments.errors import InputError


class WarmupStableDecay(LRScheduler):
    """Up to the optimizer's rates, there for most of the run, and in its last part down to zero (Hu et al. 2024).

    Args:
        optimizer: whose rates it moves; those that it was made with are the highest.
        total: its length, in what it advances by.
        warmup: the share of it that the rise takes.
        decay: the share of it that the fall takes.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: Annotated[int, Ge(1)] | Literal["run"],
        warmup: Annotated[float, Ge(0), Le(1)] = 0.05,
        decay: Annotated[float, Ge(0), Le(1)] = 0.4,
    ) -> None:
        assert isinstance(total, int)
        if warmup + decay > 1:
            raise InputError(f"scheduler: warmup={warmup:g} and decay={decay:g} are together more than the whole run")
        self.total = total
        self.warmup = warmup
        self.decay = decay
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        # An update in the middle of its step, so that neither the first nor the last one is by a rate of zero.
        t = (min(self.last_epoch, self.total - 1) + 0.5) / self.total
        rise = t / self.warmup if t < self.warmup else 1.0
        fall = (1 - t) / self.decay if 1 - t < self.decay else 1.0
        return [base * rise * fall for base in self.base_lrs]
