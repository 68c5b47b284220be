"""What a job takes of time and memory, from what was measured of it."""

from collections.abc import Sequence
from dataclasses import dataclass

# What a whole run takes beyond the steps that are timed. From peaks of whole runs in processes forked as jobs are
# (one thread, PyTorch 2.13, MLflow 3.17): 200 small digits in 28,273 parameters 417 MB without pictures and record,
# 662 MB with pictures, 491 MB with the record, 723 MB with both; 1,400 MNIST digits in 550,629 parameters 646 to
# 772 MB, 976 MB, 792 MB and 1,047 MB. Their timed steps alone: 413 to 415 MB, and 644 to 744 MB.
MB = 10**6
SPREAD_BYTES = 100 * MB  # by which the same run's peak differs from one time to the next
PICTURES_BYTES = 250 * MB
RECORD_BYTES = 80 * MB  # MLflow's store open, and the models exported
START_SECONDS = 2.0  # process, data, model: the smallest run's, which trained for a tenth of that
# The same runs took 5 to 8 s longer with pictures and 3 s longer with a record; both grow little with the run.
PICTURES_SECONDS = 5.0
RECORD_SECONDS = 3.0


@dataclass(frozen=True)
class Cost:
    """What a job takes.

    Args:
        parameters: of its model.
        step_seconds: one update.
        epoch_seconds: an epoch's updates and its validation.
        total_seconds: start, all epochs, pictures and record. What hooks do within or after an epoch is not in it.
        peak_bytes: of main memory, from start to end, libraries included.
        approximate: interpolated between jobs that were measured.
    """

    parameters: int
    step_seconds: float
    epoch_seconds: float
    total_seconds: float
    peak_bytes: int
    approximate: bool = False


@dataclass(frozen=True)
class Extent:
    """What is known of a job without running it."""

    parameters: int
    train: int  # images
    val: int
    batch_size: int
    epochs: float  # of the whole run
    pictures: bool
    record: bool
    draws: int = 1  # latents per image

    @property
    def work(self) -> int:
        """What the time and the memory of a step grow with, roughly: parameters times images decoded."""
        return self.parameters * self.batch_size * self.draws


@dataclass(frozen=True)
class Sample:
    """What was measured: seconds of an update, seconds of validation per image, peak bytes of the process."""

    step: float
    val_image: float
    peak: float

    def cost(self, extent: Extent, *, approximate: bool = False) -> Cost:
        """Of a whole run of that extent."""
        epoch = self.step * extent.train / min(extent.batch_size, extent.train) + self.val_image * extent.val
        around = START_SECONDS + PICTURES_SECONDS * extent.pictures + RECORD_SECONDS * extent.record
        total = extent.epochs * epoch + around
        peak = self.peak + SPREAD_BYTES + PICTURES_BYTES * extent.pictures + RECORD_BYTES * extent.record
        return Cost(extent.parameters, self.step, epoch, total, round(peak), approximate)


def largest(costs: Sequence[Cost | None]) -> int | None:
    """Peak memory, in bytes, of the job that needs most; None where none is known."""
    return max((cost.peak_bytes for cost in costs if cost is not None), default=None)
