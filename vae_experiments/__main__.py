"""`python -m vae_experiments` is the `vae` command."""

import sys

from vae_experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
