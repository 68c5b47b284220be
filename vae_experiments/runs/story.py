"""What a run's page in MLflow says at its top: what runs, what came out, and how to go on. Markdown."""

import json
import logging
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from vae_experiments.evaluation.config import DIAGNOSIS
from vae_experiments.runs.command import program, resume_command, single_run, trust
from vae_experiments.runs.folder import RunFolder
from vae_experiments.tracking.markdown import table_head, table_row
from vae_experiments.tracking.names import MAX_NOTE, flatten

log = logging.getLogger(__name__)

NOTE_TAG = "mlflow.note.content"
_ROWS = 15  # of the table of differences
_APART = ("name", "tracking", "figures", "evaluation", "hooks", "sweep", "plan")  # they change no result

_FIGURES = {
    "best/val_elbo": ("bound on the validation images", "nats per image, higher is better"),
    "best/val_reconstruction": ("reconstruction", "nats per image"),
    "best/val_kl": ("KL, the rate", "nats per image"),
    "best/active_units": ("active latent dimensions", "dimensions"),
    "best/epoch": ("best epoch", "epoch"),
    "time/images_per_second": ("speed of training", "images per second"),
}
_MEASURED = {
    "elbo": "nats per image",
    "nll_iw": "nats per image",
    "reconstruction": "nats per image",
    "kl": "nats per image",
    "active_units": "dimensions",
    "mutual_information": "nats",
    "marginal_kl": "nats",
    "bits_per_dim": "bits",
    "linear_probe_accuracy": "share",
    "knn_accuracy": "share",
}


def story(
    path: Path,
    history: Sequence[Mapping[str, float]] = (),
    *,
    status: str | None = None,
    reason: str = "",
    epochs: int | None = None,
) -> str:
    """The description of the run in the folder `path`.

    Args:
        path: the run's folder, with its config.
        history: the epochs' metrics, the first one first.
        status: how it stands; None for what its folder says.
        reason: why it failed.
        epochs: how many it is given; None where that is not known.
    """
    folder = RunFolder(path)
    config = folder.config()
    if status is None:
        status, reason = folder.info().status, folder.info().reason
    ended = status == "FINISHED"
    at_first = status == "RUNNING" and not history
    first, *others = _findings(path) if ended else [""]
    # One paragraph before all else: MLflow folds a description after some six lines.
    opening = [
        "" if ended else _standing(path, config, history, status, reason, epochs),
        _headline(history, path),
        first,
        _again(path, config) if ended else "",
    ]
    parts = [
        "  \n".join(line for line in opening if line),
        "\n".join(["Found besides:\n", *(f"- {finding}" for finding in others)]) if others else "",
        f"**What it is:** {_sentence(config)}",
        _figures(history, path),
        _measured(path),
        "" if at_first else _differences(config),  # composing the default takes time: not before the first step
        _commands(path, config),
    ]
    text = "\n\n".join(part for part in parts if part)
    return text if len(text) <= MAX_NOTE else text[: text.rfind("\n", 0, MAX_NOTE)]


def note(
    path: Path,
    history: Sequence[Mapping[str, float]] = (),
    *,
    status: str | None = None,
    reason: str = "",
    epochs: int | None = None,
) -> dict[str, str]:
    """The same as a tag; none where something cannot be read: a description is never worth a run."""
    try:
        return {NOTE_TAG: story(path, history, status=status, reason=reason, epochs=epochs)}
    except Exception as error:
        log.warning("no description of the run: %s", error, exc_info=True)
        return {}


def _findings(path: Path) -> list[str]:
    """The diagnosis, the gravest finding first; only that is called by its name."""
    first, *others = (_read(path / DIAGNOSIS).get("text") or "Finished.").splitlines()
    return [first, *(line.removeprefix("Diagnosis: ") for line in others)]


def _again(path: Path, config: Mapping[str, Any]) -> str:
    """How to repeat and to resume it, in a line."""
    ways = [f"Repeat: {_code(command)}" for command in _repeat(path)]
    return "; ".join([*ways, f"resume, had it stopped: {_code(resume_command(_from_here(path), config))}"])


def _standing(
    path: Path,
    config: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    status: str,
    reason: str,
    epochs: int | None,
) -> str:
    of = f" of {epochs}" if epochs else ""
    done = f"{len(history)}{of} epochs done"
    again = f"Continue with `{resume_command(path, config)}`."
    if status == "RUNNING":
        return f"**Running** since {done}." if history else f"**Running**{f', {epochs} epochs' if epochs else ''}."
    if status == "FAILED":
        return f"**Failed**, {done}: {_code(reason or 'see traceback.txt')} {again}"
    return f"**Stopped** by a signal, {done}. {again}"


def _sentence(config: Mapping[str, Any]) -> str:
    """Data, model and objective in a line."""
    names = {part: _class(config, part) for part in ("dataset", "architecture", "posterior", "prior", "likelihood")}
    latents = config["architecture"].get("latent_dim")
    objective = config.get("objective", {})
    weight = objective.get("kl_weight")
    weighted = f" with KL weight {weight:g}" if isinstance(weight, int | float) else " with a scheduled KL weight"
    return (
        f"{names['architecture']} with {latents} latent dimensions on {names['dataset']}, "
        f"{names['posterior']} posterior, {names['prior']} prior, {names['likelihood']} likelihood; "
        f"trained by {_class(config, 'objective')}"
        f"{weighted if 'kl_weight' in objective else ''}."
    )


def _class(config: Mapping[str, Any], part: str) -> str:
    section = config.get(part)
    return str(section.get("_target_", part)).rpartition(".")[2] if isinstance(section, Mapping) else part


def _headline(history: Sequence[Mapping[str, float]], path: Path) -> str:
    """The figures in a line: MLflow folds a description after some five of them."""
    known = {**history[-1], **_read(path / DIAGNOSIS).get("figures", {})} if history else {}
    if "best/val_elbo" not in known:
        return ""
    named = {
        "reconstruction": "best/val_reconstruction",
        "KL": "best/val_kl",
        "active dimensions": "best/active_units",
        "at epoch": "best/epoch",
        "images per second": "time/images_per_second",
    }
    others = [f"{what} {_number(known[name])}" for what, name in named.items() if name in known]
    return f"**Best val/elbo {known['best/val_elbo']:.2f} nats per image**: {', '.join(others)}."


def _figures(history: Sequence[Mapping[str, float]], path: Path) -> str:
    if not history:
        return ""
    known = {**history[-1], **_read(path / DIAGNOSIS).get("figures", {})}
    rows = [(what, _number(known[name]), unit) for name, (what, unit) in _FIGURES.items() if name in known]
    return _table(("at the best epoch", "", "unit"), rows)


def _measured(path: Path) -> str:
    """What `vae evaluate` found, of the part that it was given last."""
    parts = sorted((path / "evaluation").glob("*.json"), key=lambda file: file.stat().st_mtime)
    if not parts:
        return ""
    metrics = _read(parts[-1]).get("metrics", {})
    rows = []
    for name, value in metrics.items():
        short = name.rpartition("/")[2]
        unit = next((unit for known, unit in _MEASURED.items() if short.startswith(known)), None)
        if unit is not None and not short.endswith("_std"):
            rows.append((f"`{name}`", _number(value), unit))
    return f"Evaluated afterwards:\n\n{_table(('metric', '', 'unit'), rows)}" if rows else ""


def _differences(config: Mapping[str, Any]) -> str:
    try:
        default = dict(flatten(default_config()))
    except Exception as error:  # a file in conf/ that was edited since; the rest of the page is worth having
        log.debug("the default config cannot be composed: %s", error)
        return ""
    own = dict(flatten(config))
    keys = [key for key in own if key.partition(".")[0] not in _APART and own[key] != default.get(key, _MISSING)]
    keys = [key for key in keys if key != "trainer.threads"]  # the machine's, which a sweep shares out
    if not keys:
        return "Everything is as `vae train` has it by default."
    rows = [(f"`{key}`", *_pair(key, own[key], default.get(key, _MISSING))) for key in keys[:_ROWS]]
    more = f"\n\nand {len(keys) - _ROWS} more: see config.yaml." if len(keys) > _ROWS else ""
    return f"What differs from the default:\n\n{_table(('key', 'here', 'default'), rows)}{more}"


_MISSING = object()


def _pair(key: str, here: object, there: object) -> tuple[str, str]:
    """Both values; of classes their names alone, where these tell them apart."""
    if key.endswith("_target_"):
        names = [each.rpartition(".")[2] if isinstance(each, str) else each for each in (here, there)]
        if names[0] != names[1]:
            here, there = names
    return _value(here), _value(there)


@cache  # a run is described several times
def default_config() -> Mapping[str, Any]:
    """What `vae train` without any override composes."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from vae_experiments.config.hydra_app import to_plain
    from vae_experiments.config.paths import conf_dir
    from vae_experiments.config.resolvers import register_resolvers

    register_resolvers()
    here = GlobalHydra.instance().is_initialized()  # in a verb; not in a sweep's job
    with nullcontext() if here else hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return to_plain(hydra.compose(config_name="train"))


def _commands(path: Path, config: Mapping[str, Any]) -> str:
    own, here, folder = trust(config), Path.cwd(), str(_from_here(path))
    lines = [
        *_repeat(path),
        resume_command(Path(folder), config),
        shlex.join(["vae", "evaluate", folder, *own]),
        shlex.join(["vae", "generate", folder, "what=samples", *own]),
    ]
    what = "To repeat it, to resume it where it stopped before its end, to measure and to use it"
    return f"{what}, in {_code(str(here))}:\n\n```\n" + "\n".join(lines) + "\n```"


def _from_here(path: Path) -> Path:
    """As short as it gets: a narrow page cuts long lines off."""
    whole, here = path.absolute(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def _repeat(path: Path) -> Iterator[str]:
    words = single_run(path)
    if words is not None:
        yield shlex.join([*program(path), "train", *words])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([table_head(head), *(table_row(row) for row in rows)])


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def _value(value: object) -> str:
    if value is _MISSING:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return _code(text if len(text) <= 60 else text[:57] + "...")


def _code(text: str) -> str:
    """Text that a person wrote, as nothing but text."""
    clean = " ".join(text.split()).replace("`", "'").replace("|", "/")
    return f"`{clean}`"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
