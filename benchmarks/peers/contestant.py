"""What every contestant is told and what it answers; imported in each one's own environment.

A contestant is a program that trains the seed's network on the digits it is given and prints one JSON line:

    cd benchmarks; python -m peers.eager FOLDER --batch-size=128

Each of
them minimises the same loss, minus the evidence lower bound with one draw per image, in nats per image, by Adam with
a constant learning rate, from Glorot-uniform weights and zero biases.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 1e-3
BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True)
class Task:
    """What to train. Pixels are uint8 [N, 28, 28]."""

    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    batch_size: int
    epochs: int
    seed: int
    threads: int
    precision: str  # of the two that are PyTorch's; auto is what each would use by default
    device: str  # likewise
    dataset: str  # where ours has the digits from, and of MNIST's how many it holds out
    held_out_count: int
    graphs: str  # whether ours captures its steps on a GPU
    resident: bool  # whether the eager loop has all images on the device, and no DataLoader

    @classmethod
    def from_command_line(cls) -> "Task":
        """What the bench asks for."""
        parser = argparse.ArgumentParser()
        parser.add_argument("data", type=Path, help="folder with train.npy and held_out.npy")
        parser.add_argument("--batch-size", type=int, default=128)
        parser.add_argument("--epochs", type=int, default=3)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, default=2)
        parser.add_argument("--precision", default="auto")
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--dataset", default="mnist5k")
        parser.add_argument("--held-out", dest="held_out_count", type=int, default=0)
        parser.add_argument("--graphs", default="true")
        parser.add_argument("--resident", action="store_true")
        given: dict[str, Any] = vars(parser.parse_args())
        data = given.pop("data")
        return cls(np.load(data / "train.npy"), np.load(data / "held_out.npy"), **given)


@dataclass(frozen=True)
class Answer:
    """What came of it. Losses are in nats per image."""

    images_per_second: float  # of the last epoch's training: the ones before it are the warm-up
    train: Sequence[float]  # the loss of each epoch while it was trained
    held_out: float  # the loss on the held-out images after the last
    parameters: int
    precision: str  # of the matrix products
    versions: dict[str, str]


def answer(
    seconds: float, task: Task, train: Sequence[float], held_out: float, parameters: int, precision: str, *used: str
) -> None:
    """Prints the JSON line. `seconds`: of the last epoch's training; `used`: packages whose versions matter."""
    versions = {package: version(package) for package in used}
    rate = len(task.train) / seconds
    print(json.dumps(asdict(Answer(rate, list(train), held_out, parameters, precision, versions))), flush=True)


class Watch:
    """Seconds of each epoch's training; validation and what else happens in between left out."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self._start = 0.0

    def start(self) -> None:
        """At the first batch of an epoch."""
        self._start = time.perf_counter()

    def stop(self) -> None:
        """After the last."""
        self.epochs.append(time.perf_counter() - self._start)
