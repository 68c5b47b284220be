"""Checkpoints: one file that is either whole or not there, read without running code.

A checkpoint is a dict of plain containers and tensors written by `torch.save`:

    format   int, the layout's version
    digest   SHA-256 over everything under `content`
    content  config, signature and the training state
"""

import hashlib
import io
import logging
import os
import shlex
import shutil
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.files import write_atomically

log = logging.getLogger(__name__)

FORMAT = 2  # 2: dense layers beside images count their values pixel by pixel, not channel by channel
LAST, PREVIOUS, BEST, NEW = "last.ckpt", "previous.ckpt", "best.ckpt", "new.ckpt"


def save_checkpoint(folder: Path, content: dict[str, Any], *, best: bool = False) -> None:
    """Writes `last.ckpt`, keeping the one before as `previous.ckpt`; with `best`, also `best.ckpt`.

    Written under a temporary name, synced, then renamed: a crash leaves the old file or the new one.

    Raises:
        RunFailed: when the file cannot be written (no space, read-only); the older files stay.
    """
    last, new = folder / LAST, folder / NEW
    # In memory first: torch reports a full disk as an internal error, writing bytes says what is the matter.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "digest": digest(content), "content": content}, buffer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(new, [buffer.getbuffer()])
        if best:
            _replace_by_link(new, folder / BEST)
        if last.exists():
            last.replace(folder / PREVIOUS)
        new.replace(last)
        _sync_folder(folder)
    except OSError as error:
        raise RunFailed(
            f"cannot write {last}: {error.strerror}; the checkpoint before it is whole, "
            f"mend that and continue with: vae resume {shlex.quote(str(folder.parent))}"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one file.

    Raises:
        InputError: when it is missing, truncated, altered, or of another format.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, KeyError, ... on damaged files
        raise InputError(f"{path}: is not a whole checkpoint ({type(error).__name__})") from error
    if not isinstance(saved, dict) or not {"format", "digest", "content"} <= saved.keys():
        raise InputError(f"{path}: is not a checkpoint of this program")
    if saved["format"] != FORMAT:
        raise InputError(f"{path}: has format {saved['format']}, this version reads {FORMAT}")
    if digest(saved["content"]) != saved["digest"]:
        raise InputError(f"{path}: its content does not match its digest; the file was altered or damaged")
    content: dict[str, Any] = saved["content"]
    return content


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a folder; None when it has none.

    Tried in this order: new.ckpt (a crash between two renames left it so), last.ckpt, previous.ckpt.
    """
    for name in (NEW, LAST, PREVIOUS):
        if (folder / name).exists():
            try:
                return load_checkpoint(folder / name)
            except InputError as error:
                log.warning("%s; falling back to the one before", error)
    return None


def digest(value: Any) -> str:
    """SHA-256 of nested plain containers and tensors, independent of how they are stored."""
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()


def _feed(sha: "hashlib._Hash", value: Any) -> None:
    if isinstance(value, Tensor):
        tensor = value.detach().cpu().contiguous()
        sha.update(f"tensor {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    # Exact types: torch.save takes subclasses (a NumPy float, a defaultdict) that weights_only will not read back.
    elif type(value) in (dict, OrderedDict):
        sha.update(f"dict {len(value)}".encode())
        for key, item in value.items():
            _feed(sha, key)
            _feed(sha, item)
    elif type(value) in (list, tuple):
        sha.update(f"list {len(value)}".encode())
        for item in value:
            _feed(sha, item)
    elif type(value) is float:
        sha.update(b"float" + struct.pack("<d", value))
    elif value is None or type(value) in (bool, int, str):
        sha.update(f"{type(value).__name__} {value!r}".encode())
    else:
        raise TypeError(f"a checkpoint cannot carry a {type(value).__name__}")


def _replace_by_link(source: Path, target: Path) -> None:
    """Makes `target` a second name of `source`, or a copy where the file system has no links."""
    interim = target.with_name(f".linking-{target.name}")
    interim.unlink(missing_ok=True)
    try:
        os.link(source, interim)
    except OSError:
        shutil.copyfile(source, interim)
    os.replace(interim, target)


def _sync_folder(folder: Path) -> None:
    """Makes the renames themselves durable, where the system lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
