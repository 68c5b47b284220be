"""One training step, operation by operation: the gradient of a batch, then an update."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from vae_experiments.data.batches import Batch, binarize
from vae_experiments.kernels import updates
from vae_experiments.models.late_block import LateBlock
from vae_experiments.models.posteriors import Distribution
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import Objective, Progress, Terms
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.teacher import Teacher


class Step:
    """What the loop does to the model with each batch; between the two halves it can still refuse the update."""

    batch: Batch  # this process's share of the last one

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._parameters = list(run.state.vae.parameters())  # listed once: a small network's step takes a millisecond
        module = StepModule(run.state.vae, run.objective, run.teacher)
        self._module: nn.Module = module if run.world.size == 1 else parallel(module)

    def gradient(self, rows: NDArray[np.int64]) -> Tensor:
        """Leaves the gradient of the mean loss in the parameters.

        Args:
            rows: the images of the batch of all processes together.

        Returns:
            float64 on the CPU, [terms + 1]: each of the objective's terms summed over this process's images, and the
            norm of the whole gradient.
        """
        self.batch = draw(self._run, rows)
        return self._gradient(self.batch.x, self.batch.noise, self._run.progress, len(rows)).cpu().double()

    def update(self) -> None:
        """Moves the parameters along the gradient, clipped if that was asked for."""
        run = self._run
        if run.trainer.clip_grad_norm is not None:
            trained = [p for p in self._parameters if p.grad is not None]
            clip_grads_with_norm_(trained, run.trainer.clip_grad_norm, self._norm)
        run.state.optimizer.step()

    def _gradient(self, x: Tensor, noise: Tensor, progress: Progress, images: int) -> Tensor:
        """As `gradient`, float32 on the device: nothing waits for it."""
        run = self._run
        with run.hardware.autocast():
            terms, penalty = self._module(x, noise, progress)
        # The mean over the whole batch: DistributedDataParallel averages over processes, whatever their shares.
        loss = (terms.loss if penalty is None else terms.loss + penalty).sum() * (run.world.size / images)
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        self._norm = gradient_norm([p.grad for p in self._parameters if p.grad is not None], run.trainer.kernels)
        return torch.stack([*(term.detach().sum() for term in terms.named().values()), self._norm])


class StepModule(nn.Module):
    """The objective on a model as one module, which is what DistributedDataParallel can wrap."""

    def __init__(self, vae: VAE, objective: Objective, teacher: Teacher | None = None) -> None:
        super().__init__()
        self.vae = vae
        self.objective = objective
        self.teacher = teacher

    def forward(self, x: Tensor, noise: Tensor, progress: Progress) -> tuple[Terms, Tensor | None]:
        """The objective's terms, and the teacher's penalty on each image's loss where it has one."""
        if self.teacher is None:
            return self.objective(self.vae, x, noise, progress), None
        kept: list[Distribution] = []  # objectives return numbers; the posterior they are made of is seen as it passes
        with self.vae.posterior.register_forward_hook(lambda layer, inputs, q: kept.append(q)):
            terms = self.objective(self.vae, x, noise, progress)
        return terms, self.teacher.penalty(x, kept[0], progress)


def gradient_norm(gradients: Sequence[Tensor], kernels: bool = True) -> Tensor:
    """The Euclidean norm of all of them together, a scalar on their device; by a kernel of our own if it may be."""
    computed = updates.norm(gradients) if kernels else None
    return get_total_norm(gradients) if computed is None else computed


def parallel(step: StepModule) -> DistributedDataParallel:
    """The same on several processes, with their gradients averaged."""
    return DistributedDataParallel(step, find_unused_parameters=any(isinstance(m, LateBlock) for m in step.modules()))


def draw(run: TrainingRun, rows: NDArray[np.int64]) -> Batch:
    """This process's share of a batch."""
    share = run.world.share(len(rows))
    noise, uniform = draw_noise(run, len(rows))
    x = run.images(rows[share])
    return Batch(rows[share], x if uniform is None else binarize(x, uniform), noise)


def draw_noise(run: TrainingRun, images: int) -> tuple[Tensor, Tensor | None]:
    """This process's share of what is random in a batch: for the latents, and for pixels if these are drawn.

    Drawn for all of the batch, so that shares add up to the whole.
    """
    share = run.world.share(images)
    noise = run.objective.noise(run.state.vae, images, run.state.generator)[share]
    if run.data.binarization != "dynamic":
        return noise, None
    shape = (images, *run.state.vae.image_shape)
    generator = run.state.generator
    return noise, torch.rand(shape, generator=generator, device=generator.device)[share]
