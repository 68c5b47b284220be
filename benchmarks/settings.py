"""What `make bench` was asked for, handed to every section."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How much to measure.

    Args:
        rounds: how often what takes seconds is measured; what takes minutes is, once.
        threads: of every process measured.
        images: to train on in an epoch side by side with others, of the bundled 5,000 digits.
    """

    rounds: int = 3
    threads: int = 2
    images: int = 4500
