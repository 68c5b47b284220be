"""What configs may compute: `${vae.stamp:}`."""

import secrets
from datetime import datetime

from omegaconf import OmegaConf


def stamp() -> str:
    """A folder name that sorts by time and that two commands started in the same second do not share."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def register_resolvers() -> None:
    """Makes the resolvers known to OmegaConf; cached, so that one config has one stamp."""
    OmegaConf.register_new_resolver("vae.stamp", stamp, use_cache=True, replace=True)
