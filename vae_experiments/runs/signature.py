"""What makes two runs the same run: config, data and code."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import vae_experiments

# Sections and keys that cannot change a result: names, records, pictures, and where the data lies
# (what the data is counts by its digest).
WITHOUT = ("name", "tracking", "figures")
HOOKS_THAT_COUNT = ("early_stopping",)
DATASET_KEYS_THAT_COUNT = ("split", "binarization")


def signature(config: Mapping[str, Any], data_digest: str) -> str:
    """SHA-256, as 64 hex digits, of the composed config, the data's digest and the package's source."""
    counted = {key: value for key, value in config.items() if key not in WITHOUT}
    counted["hooks"] = {key: value for key, value in config["hooks"].items() if key in HOOKS_THAT_COUNT}
    counted["dataset"] = {key: config["dataset"].get(key) for key in DATASET_KEYS_THAT_COUNT}
    text = json.dumps([counted, data_digest, source_digest()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def source_digest() -> str:
    """SHA-256 over the package's Python files, names and contents."""
    root = Path(vae_experiments.__file__).parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return sha.hexdigest()
