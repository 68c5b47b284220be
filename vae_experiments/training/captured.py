"""A training step as CUDA graphs, launched whole: a small network's kernels are shorter than their launches."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from vae_experiments.data.batches import Batch, binarize
from vae_experiments.models.late_block import LateBlock
from vae_experiments.objectives import Progress, Schedule
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.step import Step, draw_noise

log = logging.getLogger(__name__)

WARM_UP = 3  # steps before the first capture: libraries choose their kernels, the optimizer makes its state
OURS = ("torch.optim.", "vae_experiments.")  # whose optimizers are known to take rates that lie on the device


class CapturedStep(Step):
    """The same kernels as `Step`, in the same order, on the same numbers; captured once for each size of a batch.

    The first step of each size is made as `Step` makes it. So are all where a model or an objective cannot be
    captured, because the host decides by a tensor's value what is computed next; and all updates by an optimizer that
    cannot, or whose settings, other than its rates, a schedule moves.
    """

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(run)
        optimizer = run.state.optimizer
        schedules = [*run.objective.schedules.values(), *([] if run.teacher is None else [run.teacher.weight])]
        self._dials = Dials(optimizer, schedules, run.hardware.device)
        self._is_capturable = can_be_captured(optimizer)
        self._graphs: dict[int, StepGraphs] = {}  # by the size of the batch
        self._at_hand: StepGraphs | None = None  # that which made the parameters' gradient
        self._steps = 0
        self._refused = False

    def gradient(self, rows: NDArray[np.int64]) -> Tensor:
        run = self._run
        self._dials.set(run.state.optimizer, run.progress)
        self._at_hand = self._graphs.get(len(rows))
        if self._at_hand is None:
            # A layer that has yet to join has no state in the optimizer, which must not be made within a graph.
            self._steps = 0 if self._waits_for_layers else self._steps + 1
            figures = super().gradient(rows)
            if self._steps > WARM_UP and not self._refused:
                self._capture(rows)
            return figures
        noise, uniform = draw_noise(run, len(rows))
        x, self._norm, figures = self._at_hand.gradient(inputs(run, rows, noise, uniform))
        self.batch = Batch(rows, x, noise)
        return figures.cpu().double()

    def update(self) -> None:
        if self._at_hand is not None and self._at_hand.can_update(self._run.state.optimizer):
            self._at_hand.update()
        elif self._is_capturable:
            with made_capturable(self._run.state.optimizer, self._dials.rates):  # reckons as the graphs do
                super().update()
        else:
            super().update()

    def _capture(self, rows: NDArray[np.int64]) -> None:
        """Captures the step for batches of that size; carries out nothing, and leaves the gradient at hand."""
        run, images = self._run, len(rows)
        gradients, norm = [parameter.grad for parameter in self._parameters], self._norm

        def gradient(source: Tensor, noise: Tensor, uniform: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
            x = run.images.load(source)
            x = x if uniform is None else binarize(x, uniform)
            figures = self._gradient(x, noise, self._dials.progress(run.progress), images)
            return x, self._norm, figures

        # Any numbers will do, of the right shapes.
        noise, uniform = self.batch.noise, self.batch.x if run.data.binarization == "dynamic" else None
        try:
            graphs = StepGraphs(self._parameters, inputs(run, rows, noise, uniform), gradient, run.hardware.device)
            if self._is_capturable:
                with made_capturable(run.state.optimizer, self._dials.rates):
                    graphs.capture_update(super().update, run.state.optimizer)
            self._graphs[images] = graphs
        except RuntimeError as error:
            self._refused = True
            reason = str(error).partition("\n")[0] or type(error).__name__
            log.info("no CUDA graph, each step is made one operation at a time: %s", reason)
        finally:
            self._norm = norm
            for parameter, before in zip(self._parameters, gradients, strict=True):
                parameter.grad = before

    @property
    def _waits_for_layers(self) -> bool:
        return any(isinstance(layer, LateBlock) and layer.waits for layer in self._run.state.vae.modules())


def inputs(run: TrainingRun, rows: NDArray[np.int64], noise: Tensor, uniform: Tensor | None) -> list[Tensor]:
    """What a captured gradient is computed from."""
    return [run.images.source(rows), noise, *([] if uniform is None else [uniform])]


class StepGraphs:
    """The captured step for batches of one size."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        inputs: Sequence[Tensor],
        gradient: Callable[..., tuple[Tensor, Tensor, Tensor]],
        device: torch.device,
    ) -> None:
        self._inputs = [each.to(device, copy=True) for each in inputs]
        self._gradient = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._gradient):
            self._results = gradient(*self._inputs)
        self._gradients = [(parameter, parameter.grad) for parameter in parameters]
        self._update: torch.cuda.CUDAGraph | None = None

    def capture_update(self, update: Callable[[], None], optimizer: Optimizer) -> None:
        """Captures what follows that gradient."""
        self._constants = constants(optimizer)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            update()
        self._update = graph

    def gradient(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What was captured, on these inputs; the results lie where they lay before."""
        for here, given in zip(self._inputs, inputs, strict=True):
            here.copy_(given, non_blocking=True)
        self._gradient.replay()
        for parameter, gradient in self._gradients:  # an update by other means takes them from there
            parameter.grad = gradient
        return self._results

    def can_update(self, optimizer: Optimizer) -> bool:
        """Whether the update was captured, with the settings that the optimizer has now."""
        return self._update is not None and constants(optimizer) == self._constants

    def update(self) -> None:
        assert self._update is not None
        self._update.replay()


class Dials:
    """Numbers that move from step to step and lie on the device, where captured kernels read them anew each time.

    They are the optimizer's learning rates, the step, and the values of schedules.
    """

    def __init__(self, optimizer: Optimizer, schedules: Sequence[Schedule], device: torch.device) -> None:
        self._schedules = schedules
        count = len(optimizer.param_groups) + 1 + len(self._schedules)
        self._there = torch.zeros(count, device=device)
        self._here = torch.zeros(count, pin_memory=device.type == "cuda")
        tensors = self._there.unbind()
        self.rates = tensors[: -1 - len(self._schedules)]
        self._step = tensors[len(self.rates)]
        self._values = dict(zip(self._schedules, tensors[len(self.rates) + 1 :], strict=True))

    def set(self, optimizer: Optimizer, now: Progress) -> None:
        """Sends all of them, at once. The device must be done with the last ones."""
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._here.numpy()[:] = [*rates, now.step, *(schedule(now) for schedule in self._schedules)]
        self._there.copy_(self._here, non_blocking=True)

    def progress(self, now: Progress) -> "DeviceProgress":
        """How far training is, as the device sees it."""
        step = cast(int, self._step)  # a tensor, which reckons like a number
        return DeviceProgress(step, now.steps_per_epoch, now.steps, now.images, values=self._values)


@dataclass(frozen=True)
class DeviceProgress(Progress):
    """Progress whose step, and whose schedules' values, are tensors.

    An objective that decides something by the step makes the host wait for the device, and is never captured.
    """

    values: dict[Schedule, Tensor]

    def value(self, schedule: Schedule) -> float | Tensor:
        return self.values[schedule] if schedule in self.values else super().value(schedule)


def can_be_captured(optimizer: Optimizer) -> bool:
    """Whether it counts its steps, and takes its rates, on the device."""
    known = type(optimizer).__module__.startswith(OURS)
    return known and all("capturable" in group for group in optimizer.param_groups)


def constants(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Of each parameter group, the settings that become constants of a captured update."""
    moving = ("params", "lr", "capturable")
    return [{name: value for name, value in group.items() if name not in moving} for group in optimizer.param_groups]


@contextmanager
def made_capturable(optimizer: Optimizer, rates: Sequence[Tensor]) -> Iterator[None]:
    """The optimizer with its learning rates and counters on the device; its settings look as usual afterwards."""
    before = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(rates[0].device)
    for group, there in zip(optimizer.param_groups, rates, strict=True):
        group["lr"], group["capturable"] = there, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*capturable=True.*")  # to be so without a capture is slow, it says
            yield
    finally:
        for group, (rate, capturable) in zip(optimizer.param_groups, before, strict=True):
            group["lr"], group["capturable"] = rate, capturable
