"""What MLflow takes as a key or a value, made out of whatever people type."""

import posixpath
import re
from collections.abc import Iterator, Mapping

FOLDER_TAG = "vae.folder"  # the run's folder, absolute
HOST_TAG = "vae.host"
PID_TAG = "vae.pid"
TRACKING_TAG = "vae.tracking"  # "delayed" once something had to wait for the store
KIND_TAG = "vae.kind"  # "run", or "sweep" for the parent of runs
KEY_TAG = "vae.key"  # known to the run's folder before the run has an id
DIGEST_TAG = "vae.digest"  # of a logged model's weights

MAX_KEY = 250
MAX_RUN_NAME = 250
MAX_PARAM = 6000
MAX_NOTE = 4500  # of a description, a tag that needs some characters of its own
MAX_TAG = 5000  # MLflow's own databases take 8000, its file format and hosted ones 5000


def text(value: object, limit: int) -> str:
    """`value` as text that every store can hold: no control characters or lone surrogates, cut at `limit`."""
    clean = str(value).encode("utf-8", "replace").decode()
    clean = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "?", clean)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def key(name: str) -> str:
    """`name` as a metric, parameter or tag key: letters, digits and `_-./: `, never a path that climbs."""
    clean = re.sub(r"[^/\w.\- :]", "_", text(name, MAX_KEY)).strip()
    clean = posixpath.normpath(clean).lstrip("/")
    return "_" if clean in ("", ".") or clean.startswith("..") else clean


def clean_tags(tags: Mapping[str, object]) -> dict[str, str]:
    """Tags as every store takes them."""
    return {key(name): text(value, MAX_TAG) for name, value in tags.items()}


def image_key(name: str) -> str:
    """`name` as the key of a stepped image, a part of a file's name: MLflow's browser takes ASCII only."""
    return re.sub(r"[^a-zA-Z0-9_\-./ ]", "_", key(name))[:100].strip()


def flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested mappings as dotted keys; sequences stay whole."""
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        else:
            yield path, value
