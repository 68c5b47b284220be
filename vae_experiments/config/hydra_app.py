"""Runs a verb as a Hydra application: composition, overrides, output folder, log file.

Hydra's own complaints about what was typed become one line each; nothing else of Hydra is hidden.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.config.suggest import did_you_mean
from vae_experiments.errors import InputError, RunFailed

log = logging.getLogger(__name__)

# For commands, and processes, that make no folder and no log of their own.
NO_FOLDER = ("hydra.run.dir=.", "hydra.output_subdir=null")

FLAGS_WITH_VALUES = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"),
    "--experimental-rerun",
)


def run_hydra(verb: str, arguments: Sequence[str], task: Callable[[dict[str, Any], str], None]) -> None:
    """Composes conf/<verb>.yaml with the overrides and calls `task` with it, once per job.

    Args:
        verb: name of the root config.
        arguments: what followed the verb on the command line, Hydra's flags included.
        task: gets the composed config as plain containers, and the folder that Hydra made for the job.

    Raises:
        InputError: when the config cannot be composed.
        RunFailed: jobs of a sweep failed; each was reported as it did, and the ones after it ran all the same.
        Exception: what the task raised.
    """
    register_resolvers()
    jobs = 0
    failures: list[Exception] = []

    def job(config: DictConfig) -> None:
        nonlocal jobs
        jobs += 1
        try:
            task(to_plain(config), HydraConfig.get().runtime.output_dir)
        except Exception as failure:  # kept from Hydra, which would end a sweep with it, and print it its own way
            failures.append(failure)
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                expected = isinstance(failure, InputError | RunFailed)
                log.error("job %s: %s", HydraConfig.get().job.num, failure, exc_info=not expected)

    # Hydra would print its own summary of an exception and exit with 1; ours tell mistakes from failures.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    first = int(os.environ.get("RANK", "0")) == 0  # under torchrun, one process makes folder and log
    sys.argv = [f"vae {verb}", *_flags_first(arguments), *(() if first else NO_FOLDER)]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(job)()
    except BrokenPipeError:  # the reader of --help or --cfg has gone, which is no mistake
        raise
    except (HydraException, OmegaConfBaseException, OSError) as error:
        if jobs:
            raise
        raise InputError(_explain(error, verb, arguments)) from error
    except ValueError as error:
        if jobs or not _raised_by_hydra(error):
            raise
        raise InputError(_explain(error, verb, arguments)) from error
    finally:
        GlobalHydra.instance().clear()
    if jobs > 1 and failures:
        raise RunFailed(f"{len(failures)} of {jobs} jobs failed")
    if failures:
        raise failures[0]


def _raised_by_hydra(error: Exception) -> bool:
    """Whether it was Hydra's own code that raised this, about what was typed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("hydra.")


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """The same words with Hydra's flags, and their values, before the overrides: it takes them nowhere else."""
    flags: list[str] = []
    overrides: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flags.append(word)
        if word in FLAGS_WITH_VALUES:
            flags += [value for value in [next(words, None)] if value is not None]
    return flags + overrides


def to_plain(config: DictConfig) -> dict[str, Any]:
    """The resolved config as dicts, lists and scalars: no DictConfig travels further.

    Raises:
        InputError: a key that must be given is not, or an interpolation leads nowhere.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: must be given, as {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise InputError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _explain(error: Exception, verb: str, arguments: Sequence[str]) -> str:
    """One line for what Hydra or OmegaConf says over several."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if group and error.options is not None:
            return f"{group}={option}: no such option; {did_you_mean(option, error.options)}"
        return f"{error.missing_cfg_file}: no such file among conf/ and --config-dir"
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    key = getattr(root, "full_key", None)
    if key and "is not in struct" in str(root):
        return f"{key}: no such key; {_near(key, verb, arguments)}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; work in another folder, or name one with hydra.run.dir=..."
    if isinstance(error, OverrideParseException):
        word = error.override
        if "=" not in word:
            return f"{word}: should be key=value"
        key, _, value = word.partition("=")
        cure = key + "='" + value.replace("'", "\\'") + "'"
        return f'{word}: Hydra cannot read this value; quote it, once for Hydra and once for the shell: "{cure}"'
    if "Only one of --" in str(error):
        return "-m, --cfg and --info are for one of them at a time"
    if "group override must be" in str(error):
        words = [word for word in arguments if word.endswith(("=null", "=", "}"))]
        groups = [word for word in words if (conf_dir() / word.lstrip("+").partition("=")[0]).is_dir()]
        return f"{' '.join(groups or words)}: a group takes the name of one of its choices; see 'vae {verb} --help'"
    text = " ".join(str(error).split()).partition(" See https://hydra.cc")[0]
    return f"cannot compose the config: {text}"


def _near(key: str, verb: str, arguments: Sequence[str]) -> str:
    """The nearest key beside the missing one, in the config as composed without it."""
    rest = [word for word in arguments if "=" in word and word.lstrip("+~").partition("=")[0] != key]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        try:
            config = hydra.compose(config_name=verb, overrides=rest)
        except Exception:  # another override is wrong too: the defaults will do
            config = hydra.compose(config_name=verb)
    parent, _, name = key.rpartition(".")
    section = OmegaConf.select(config, parent) if parent else config
    siblings = [str(k) for k in section] if isinstance(section, DictConfig) else []
    return did_you_mean(name, siblings) if siblings else f"see 'vae {verb} --cfg job'"
