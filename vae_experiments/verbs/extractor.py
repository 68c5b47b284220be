"""vae extractor: the network in whose features generated images are compared with real ones."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from vae_experiments.config.verb import run_verb
from vae_experiments.data.source import Source
from vae_experiments.data.splits import Positive, Seed
from vae_experiments.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig:
    """The keys of conf/extractor.yaml.

    Args:
        dataset: labelled images to train it on.
        epochs: None for as many as make 150,000 images.
        seed: of its training, and of a static binarisation.
        force: train it anew where it is there already.
    """

    dataset: Source
    epochs: Positive | None = None
    seed: Seed = 0
    force: bool = False


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae extractor --help`."""
    run_verb("extractor", arguments, ExtractorConfig, extractor)


def extractor(config: ExtractorConfig) -> None:
    """Trains the dataset's extractor, or says that it is there; where, its digest and its accuracy.

    Raises:
        InputError: the images carry no labels of two or more classes, or the cache folder cannot be written.
    """
    from vae_experiments.data.prepare import prepare
    from vae_experiments.evaluation.extractor_training import extractor_path, load_or_train

    data = prepare(config.dataset, config.seed)
    path = extractor_path(data)
    found = load_or_train(data, epochs=config.epochs, seed=config.seed, force=config.force)
    if not path.exists():
        raise InputError(f"{path}: cannot be written; name a cache folder that can be with XDG_CACHE_HOME")
    if found.seed != config.seed or found.epochs != (config.epochs or found.epochs):
        log.warning("it was there already, trained otherwise than asked for: force=true trains it anew")
    accuracy = "not measured" if found.accuracy is None else f"{found.accuracy:.2%}"
    log.info("%s", path)
    log.info("accuracy on the validation images: %s (seed=%d, epochs=%d)", accuracy, found.seed, found.epochs)
    log.info("digest: %s", found.digest)
