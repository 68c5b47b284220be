"""Help that is worth reading, and true."""

import re
import subprocess
import sys

import pytest
from support import Vae, run_process

from vae_experiments.cli import VERBS


def test_vae_alone_names_every_verb(vae: Vae) -> None:
    for arguments in ((), ("--help",)):
        ended = vae(*arguments)
        assert ended.status == 0
        assert all(f"\n  {verb} " in ended.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    ended = run_process(verb, "--help")
    assert ended.status == 0, ended.err
    assert ended.out.startswith(f"vae {verb}: ")
    assert "Powered by Hydra" not in ended.out


def test_every_key_that_the_help_of_train_names_exists(vae: Vae) -> None:
    text = run_process("train", "--help").out
    keys = re.findall(r"^  ([a-z_]+(?:[./][a-z_]+)+)=\S+", text, re.MULTILINE)
    assert len(keys) > 5
    config = run_process("train", "--cfg", "all").out
    for key in keys:
        assert re.search(rf"^ *{re.split('[./]', key)[-1]}:", config, re.MULTILINE), key


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from vae_experiments.cli import main; main(['--help']); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("torch", "mlflow", "hydra", "numpy", "pandas", "matplotlib"):
        assert f"'{module}'" not in loaded


def test_composing_needs_no_torch() -> None:
    code = "import sys; from vae_experiments.cli import main; main(['train', '--cfg', 'job']); "
    code += "print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.endswith("False\n")
    assert "latent_dim: 2" in printed


def test_doctor_says_what_would_be_chosen(vae: Vae) -> None:
    ended = vae("doctor", "trainer.device=cpu")
    assert ended.status == 0, ended.err
    assert re.search(r"^training +would run on cpu in (float32|bfloat16) \(", ended.out, re.MULTILINE)


def test_doctor_says_what_is_left_out(vae: Vae) -> None:
    ended = vae("doctor", "trainer=plain", "tracking=off")
    assert ended.status == 0, ended.err
    assert re.search(r"^training +would run on .* in float32 \(as asked\)", ended.out, re.MULTILINE)
    assert re.search(r"^kernels +left out: trainer.kernels=false$", ended.out, re.MULTILINE)
