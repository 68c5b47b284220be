"""The seed's network in Keras 3 on TensorFlow, trained by `fit` with a train_step of its own, as Keras teaches it."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray
from peers.contestant import BETAS, EPSILON, LEARNING_RATE, Task, Watch, answer


def encoder() -> keras.Model:
    """Images [B, 28, 28, 1] to the mean and the log-variance of q(z | x), both [B, 2]."""
    image = keras.Input((28, 28, 1))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(64, 3, padding="same", activation="relu", strides=2)(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(image, [layers.Dense(2)(x), layers.Dense(2)(x)])


def decoder() -> keras.Model:
    """Latents [B, 2] to pixels' probabilities [B, 28, 28, 1]."""
    latent = keras.Input((2,))
    x = layers.Dense(14 * 14 * 64, activation="relu")(latent)
    x = layers.Reshape((14, 14, 64))(x)
    x = layers.Conv2DTranspose(32, 3, padding="same", activation="relu", strides=2)(x)
    return keras.Model(latent, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


class VAE(keras.Model):
    """Minimises the mean loss per image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.decoder = decoder()
        self.seeds = keras.random.SeedGenerator()
        self.mean_loss = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.mean_loss]

    def loss_of(self, x: tf.Tensor) -> tf.Tensor:
        mean, logvar = self.encoder(x)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        probabilities = self.decoder(mean + ops.exp(0.5 * logvar) * noise)
        reconstruction = ops.sum(keras.losses.binary_crossentropy(x, probabilities), axis=(1, 2))
        kl = ops.sum(-0.5 * (1 + logvar - ops.square(mean) - ops.exp(logvar)), axis=1)
        return ops.mean(reconstruction + kl)

    def train_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = self.loss_of(x)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.mean_loss.update_state(loss, sample_weight=len_of(x))
        return {"loss": self.mean_loss.result()}

    def test_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        self.mean_loss.update_state(self.loss_of(x), sample_weight=len_of(x))
        return {"loss": self.mean_loss.result()}


def len_of(x: tf.Tensor) -> tf.Tensor:
    """Images in a batch, so that a short last one counts for less."""
    return ops.cast(ops.shape(x)[0], "float32")


class EpochTimes(keras.callbacks.Callback):
    """Starts and stops the watch around each epoch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.watch.start()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.watch.stop()


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, 28, 28, 1], in [0, 1]."""
    return pixels[..., None].astype(np.float32) / np.float32(255)


def main() -> None:
    """Trains and answers."""
    task = Task.from_command_line()
    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    keras.utils.set_random_seed(task.seed)
    model, watch = VAE(), Watch()
    model.compile(keras.optimizers.Adam(LEARNING_RATE, *BETAS, epsilon=EPSILON))
    kept = model.fit(
        scaled(task.train), batch_size=task.batch_size, epochs=task.epochs, verbose=0, callbacks=[EpochTimes(watch)]
    )
    held_out = model.evaluate(scaled(task.held_out), batch_size=500, verbose=0, return_dict=True)["loss"]
    losses = [float(loss) for loss in kept.history["loss"]]
    parts = (model.encoder, model.decoder)
    parameters = sum(part.count_params() for part in parts)
    answer(watch.epochs[-1], task, losses, float(held_out), parameters, "float32", "keras", "tensorflow-cpu")


if __name__ == "__main__":
    main()
