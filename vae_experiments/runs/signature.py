"""What makes two runs the same run: config, data and code."""

import hashlib
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import vae_experiments
from vae_experiments.files import digest_file

# Sections and keys that cannot change a result: names, records, pictures, and where the data lies
# (what the data is counts by its digest).
WITHOUT = ("name", "tracking", "figures", "evaluation")
DATASET_KEYS_THAT_COUNT = ("split", "binarization")


def signature(config: Mapping[str, Any], data_digest: str) -> str:
    """SHA-256, as 64 hex digits, of the composed config, the data's digest and the source of the code.

    The code is this package, and the modules of whatever other classes the config names.
    """
    counted = {key: value for key, value in config.items() if key not in WITHOUT}
    counted["hooks"] = {key: hook for key, hook in config["hooks"].items() if _can_change_a_result(hook)}
    counted["dataset"] = {key: config["dataset"].get(key) for key in DATASET_KEYS_THAT_COUNT}
    text = json.dumps([counted, data_digest, source_digest(), _foreign_sources(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _can_change_a_result(hook: Mapping[str, Any] | None) -> bool:
    """Of this package's hooks only early stopping does; what others do is not known."""
    target = "" if hook is None else str(hook.get("_target_"))
    return target.endswith(".EarlyStopping") or (bool(target) and not target.startswith("vae_experiments."))


def _foreign_sources(value: Any) -> dict[str, str]:
    """Module to digest, of the classes outside this package and PyTorch that a config names; all are imported."""
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        module = sys.modules.get(str(value.get("_target_")).rpartition(".")[0])
        file = getattr(module, "__file__", None)
        if file and module and not module.__name__.startswith(("vae_experiments.", "torch.")):
            found[module.__name__] = digest_file(Path(file))
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for child in children:
        found |= _foreign_sources(child)
    return found


@cache
def source_digest() -> str:
    """SHA-256 over the package's Python and C files, names and contents."""
    root = Path(vae_experiments.__file__).parent
    sha = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.[ch]")]):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return sha.hexdigest()
