"""What `dataset=` names."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.splits import Split

Binarization = Literal["none", "threshold", "static", "dynamic"]


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where images come from, and what becomes of them before training.

    Args:
        split: which images train, validate and test.
        binarization: "none" leaves grey levels as they are; "threshold" cuts at one half; "static"
            draws every pixel once, with its grey level as the probability of white, from the run's
            seed; "dynamic" draws anew at every use, in training.
    """

    split: Split
    binarization: Binarization = "none"

    @abstractmethod
    def load(self) -> ImageDataset:
        """Every image, in the source's order. Raises InputError where there is none to be had."""
