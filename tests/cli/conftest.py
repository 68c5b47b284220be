"""Commands in this process."""

import logging
from collections.abc import Iterator

import pytest
from support import Ended, Vae

from vae_experiments.cli import main


@pytest.fixture
def vae(capsys: pytest.CaptureFixture[str]) -> Vae:
    """Runs a command in this process."""

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        status = main(arguments)
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture(autouse=True)
def _quiet_logging() -> Iterator[None]:
    yield
    logging.getLogger().handlers = [h for h in logging.getLogger().handlers if type(h).__module__.startswith("_pytest")]
