"""The loop people write: eager PyTorch in float32, a DataLoader with two workers, Adam, and no tricks.

On a GPU, asked for, with the two that are well known there: bfloat16, and all images on the device.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from peers.contestant import BETAS, EPSILON, LEARNING_RATE, Task, Watch, answer
from peers.network import Decoder, Encoder, draw
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset


class VAE(nn.Module):
    """Images to the mean loss per image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.encoder(x)
        logits = self.decoder(draw(mean, logvar))
        reconstruction = binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        kl = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum() / len(x)
        loss: Tensor = reconstruction + kl
        return loss


def dataset(pixels: NDArray[np.uint8]) -> TensorDataset:
    """Tensors [1, 28, 28] in [0, 1]."""
    return TensorDataset(torch.from_numpy(pixels)[:, None].float() / 255)


class Resident:
    """Batches of images that lie on a device, in a new random order each time."""

    def __init__(self, images: Tensor, batch_size: int) -> None:
        self._images = images
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[tuple[Tensor]]:
        order = torch.randperm(len(self._images), device=self._images.device)
        return ((self._images[rows],) for rows in order.split(self._batch_size))


def main() -> None:
    """Trains and answers."""
    task = Task.from_command_line()
    torch.manual_seed(task.seed)
    torch.set_num_threads(task.threads)
    device = torch.device(task.device)
    precision = "bfloat16" if task.precision == "bfloat16" else "float32"
    model = VAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
    # Workers kept from epoch to epoch: to start them anew would count for more in so small an epoch than it should.
    train: Iterable[tuple[Tensor]] = (
        Resident(dataset(task.train).tensors[0].to(device), task.batch_size)
        if task.resident
        else DataLoader(
            dataset(task.train), batch_size=task.batch_size, shuffle=True, num_workers=2, persistent_workers=True
        )
    )
    held_out = DataLoader(dataset(task.held_out), batch_size=500)

    watch, losses = Watch(), []
    for _ in range(task.epochs):
        watch.start()
        model.train()
        total = 0.0
        for (x,) in train:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = model(x.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        watch.stop()
        losses.append(total / len(task.train))

    model.eval()
    with torch.no_grad():
        final = sum(model(x.to(device)).item() * len(x) for (x,) in held_out) / len(task.held_out)
    parameters = sum(p.numel() for p in model.parameters())
    answer(watch.epochs[-1], task, losses, final, parameters, precision, "torch")


if __name__ == "__main__":
    main()
