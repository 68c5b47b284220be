"""Where OpenMP's threads run and how they wait, which is settled before PyTorch is imported or not at all."""

import os

# Worth a tenth of a small network's step on two cores; on cores that others use, too, they cost far more.
SETTINGS = {"OMP_PROC_BIND": "true", "OMP_WAIT_POLICY": "ACTIVE"}


def keep_cores() -> None:
    """Binds each thread to a core and lets it wait for the next operation awake, where the environment says nothing.

    Not for one of several processes of torchrun's, all of which would be bound to the same core.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)


def keeps_cores() -> bool:
    """Whether that is how it is in this process."""
    return all(os.environ.get(name, "").lower() == value.lower() for name, value in SETTINGS.items())
