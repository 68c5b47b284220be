"""What `make bench` was asked for, handed to every section."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How much to measure.

    Args:
        rounds: how often everything is measured; medians are quoted.
        threads: of every process measured.
        images: to train on in an epoch, of the bundled 5,000 digits.
    """

    rounds: int = 3
    threads: int = 2
    images: int = 4500
