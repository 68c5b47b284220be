"""pythae's VAE with the seed's network, trained by pythae's BaseTrainer."""

import tempfile

import numpy as np
import torch
from numpy.typing import NDArray
from peers.contestant import BETAS, EPSILON, LEARNING_RATE, Task, Watch, answer
from peers.network import Decoder, Encoder
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor


class PythaeEncoder(BaseEncoder):
    """The seed's, with its answer as pythae expects it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Encoder()

    def forward(self, x: Tensor) -> ModelOutput:
        mean, logvar = self.network(x)
        return ModelOutput(embedding=mean, log_covariance=logvar)


class PythaeDecoder(BaseDecoder):
    """The seed's; pythae wants probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Decoder()

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


class Observer(TrainingCallback):
    """Times each epoch's training and keeps its losses."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.losses: list[dict[str, float]] = []

    def on_train_step_begin(self, training_config: BaseTrainerConfig, **others: object) -> None:
        self.watch.start()

    def on_eval_step_begin(self, training_config: BaseTrainerConfig, **others: object) -> None:
        self.watch.stop()

    def on_log(self, training_config: BaseTrainerConfig, logs: dict[str, float], **others: object) -> None:
        self.losses.append(dict(logs))


def dataset(pixels: NDArray[np.uint8]) -> BaseDataset:
    """Tensors [1, 28, 28] in [0, 1]; no labels, for which pythae wants zeros."""
    x = torch.from_numpy(pixels)[:, None].float() / 255
    return BaseDataset(x, torch.zeros(len(x)))


def main() -> None:
    """Trains and answers."""
    task = Task.from_command_line()
    torch.manual_seed(task.seed)
    torch.set_num_threads(task.threads)
    shape = VAEConfig(input_dim=(1, 28, 28), latent_dim=2, reconstruction_loss="bce")
    model, observer = VAE(shape, PythaeEncoder(), PythaeDecoder()), Observer()
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=task.batch_size,
            per_device_eval_batch_size=500,
            num_epochs=task.epochs,
            optimizer_cls="Adam",
            optimizer_params={"betas": BETAS, "eps": EPSILON},
            learning_rate=LEARNING_RATE,
            seed=task.seed,
            no_cuda=True,
        )
        BaseTrainer(model, dataset(task.train), dataset(task.held_out), config, [observer]).train()
    losses = [epoch["train_epoch_loss"] for epoch in observer.losses]
    held_out = observer.losses[-1]["eval_epoch_loss"]
    parameters = sum(p.numel() for p in model.parameters())
    answer(observer.watch.epochs[-1], task, losses, held_out, parameters, "float32", "pythae", "torch")


if __name__ == "__main__":
    main()
