"""The objective's terms on the validation part, the same draws at every epoch: epochs differ by the model alone."""

import torch

from vae_experiments.data.batches import binarize
from vae_experiments.training.randomness import stream
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.state import Metrics

BLOCK = 512  # images whose pixels are drawn at once; fixed, so that no figure depends on a batch size


class Validation:
    """Measures the terms on this process's share of the validation part."""

    def __init__(self, run: TrainingRun) -> None:
        rows = run.data.parts.val
        share = run.world.share(len(rows))
        generator = stream(run.seed, "validation")  # on the CPU: the same draws on every device
        self._run = run
        self._total = len(rows)
        self._rows = rows[share]
        self._noise = run.objective.noise(run.state.vae, len(rows), generator)[share]
        # A loss that couples the images of a batch depends on its size: then always as in training.
        coupled = run.objective.couples_images
        self._batch_size = run.batch_size if coupled else -(-run.trainer.eval_batch_size // run.objective.draws)
        self._pixels = self._draw_pixels(generator)[share] if run.data.binarization == "dynamic" else None

    def _draw_pixels(self, generator: torch.Generator) -> torch.Tensor:
        """One binary draw of the whole part, bool [N, C, H, W]."""
        images, rows = self._run.data.dataset.images, self._run.data.parts.val
        drawn = []
        for start in range(0, len(rows), BLOCK):
            grey = torch.from_numpy(images[rows[start : start + BLOCK]]).float().div_(255)
            drawn.append(binarize(grey, torch.rand(grey.shape, generator=generator)).bool())
        return torch.cat(drawn)

    @torch.no_grad()
    def measure(self) -> Metrics:
        """`val/*`: means over the images of the whole part, each image counting once whatever the batch size."""
        run, device, size = self._run, self._run.hardware.device, self._batch_size
        vae = run.state.vae.eval()
        sums = torch.zeros(3 + len(run.objective.others), dtype=torch.float64)
        for start in range(0, len(self._rows), size):
            block = slice(start, start + size)
            drawn = None if self._pixels is None else self._pixels[block].to(device, torch.float32)
            x = run.images(self._rows[block]) if drawn is None else drawn
            with run.hardware.autocast():
                terms = run.objective(vae, x, self._noise[block].to(device), run.progress)
            sums += torch.stack([term.cpu().double().sum() for term in terms.named().values()])
        return run.metrics_of("val", run.world.sum(sums) / self._total)
