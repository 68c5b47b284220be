"""Where the package's own configs are."""

from pathlib import Path

import vae_experiments


def conf_dir() -> Path:
    """The folder of the root configs and groups: inside an installed wheel, else at the checkout's top."""
    package = Path(vae_experiments.__file__).resolve().parent
    bundled = package / "conf"
    return bundled if bundled.is_dir() else package.parent / "conf"
