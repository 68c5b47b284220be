"""Fashion-MNIST: 70,000 pictures of clothing, 28 x 28, grey (Xiao, Rasul and Vollgraf, 2017)."""

from dataclasses import dataclass
from pathlib import Path

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.published import TEST, TRAIN, PublishedSet
from vae_experiments.data.source import Source

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

PUBLISHED = PublishedSet(
    name="fashion_mnist",
    class_names=CLASSES,
    sha256={
        TRAIN[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST[0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST[1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    folders=(Path("/usr/share/datasets/fashion-mnist"),),  # Debian's package
    advice="connect to the internet, put the four IDX files there, or install Debian's dataset-fashion-mnist",
)


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(Source):
    """Fashion-MNIST from files under `root`, else Debian's package, else a public mirror.

    Args:
        root: folder of the IDX files, which are put there when they have to be fetched.
    """

    root: str

    def load(self) -> ImageDataset:
        return PUBLISHED.load(Path(self.root))
