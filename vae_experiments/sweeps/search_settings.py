"""How a search goes about it: the keys of conf/hydra/sweeper/optuna.yaml, checked."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from annotated_types import Ge

from vae_experiments.config.construct import Later, construct
from vae_experiments.config.suggest import did_you_mean
from vae_experiments.errors import InputError
from vae_experiments.sweeps.space import Space, parse_space, space_from_plain, space_to_plain

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna.samplers import BaseSampler

SECTION = "hydra.sweeper"
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {"_target_": "optuna.samplers.TPESampler", "constant_liar": True},  # the liar: for trials side by side
    "gp": {"_target_": "optuna.samplers.GPSampler"},
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler"},
    "random": {"_target_": "optuna.samplers.RandomSampler"},
}
PRUNERS: dict[str, dict[str, Any]] = {
    # A first epoch says little while the learning rate still warms up; runs here have few epochs to wait for.
    "median": {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 5, "n_warmup_steps": 1},
    "hyperband": {"_target_": "optuna.pruners.HyperbandPruner"},
    "none": {"_target_": "optuna.pruners.NopPruner"},
}
# What a stored search may name without being asked.
TRUSTED = ("optuna.samplers", "optuna.pruners")
DIRECTIONS = ("minimize", "maximize")
# What every run logs after every epoch.
METRICS = (
    *(f"{part}/{term}" for part in ("train", "val") for term in ("loss", "reconstruction", "kl", "elbo")),
    *("optimizer/lr", "optimizer/grad_norm", "time/epoch_seconds", "time/images_per_second"),
)


@dataclass(frozen=True)
class Objective:
    """What a search wants of a run: a metric of its best epoch, as low or as high as can be."""

    metric: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """A search.

    Args:
        params: its space, as plain data; see `sweeps.space`.
        n_trials: how many are begun in all, over every resume.
        objectives: each a direction and a metric: "maximize val/elbo". Several ask for a Pareto front.
        sampler: draws a trial's values; called with a seed.
        pruner: decides, by an epoch's value against the other trials', which are hopeless.
        seed: of the sampler.
        storage: database URL; None for a file in the sweep's folder.
        study: its name in the storage; None for the name of the sweep's folder.
    """

    params: dict[str, Any]
    n_trials: Annotated[int, Ge(1)]
    objectives: list[str]
    sampler: Annotated[Callable[..., Any], Later("seed")]
    pruner: Any
    seed: Annotated[int, Ge(0)] = 0
    storage: str | None = None
    study: str | None = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, trusted: Sequence[str] | None = TRUSTED) -> "SearchSettings":
        """Checks what `plan_search` made, or what a plan has stored of it.

        Args:
            plain: by key; sampler and pruner are names, or mappings with a `_target_`.
            trusted: packages whose classes a `_target_` may name; None for any (just typed by the user).

        Raises:
            InputError: with the key that is wrong, or that Optuna is not installed.
        """
        optuna = require_optuna()
        named = {"sampler": SAMPLERS, "pruner": PRUNERS}
        full = {key: _expand(key, value, named[key]) if key in named else value for key, value in plain.items()}
        try:
            settings = construct(cls, full, trusted=trusted)
            settings.sampler_for(0)  # its arguments are complete only now
        except InputError as error:
            raise InputError(f"{SECTION}.{error}") from error
        except ImportError as error:  # of a library that only this sampler wants
            raise InputError(f"{SECTION}.sampler: {str(error).splitlines()[0]}") from error
        if not isinstance(settings.pruner, optuna.pruners.BasePruner):
            raise InputError(f"{SECTION}.pruner: must be of optuna.pruners, or one of: {', '.join(PRUNERS)}")
        if not isinstance(settings.sampler_for(0), optuna.samplers.BaseSampler):
            raise InputError(f"{SECTION}.sampler: must be of optuna.samplers, or one of: {', '.join(SAMPLERS)}")
        _objectives(settings.objectives)
        return settings

    def sampler_for(self, number: int) -> "BaseSampler":
        """A sampler that draws for trial `number` alike in whichever process asks.

        One generator for all trials would begin anew in every process, and a resumed search would draw the
        numbers of its first trials again.
        """
        from numpy.random import SeedSequence
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import BaseSampler, GridSampler, QMCSampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler: BaseSampler = self.sampler(seed=self.seed)
            # These lay out all points at once, by the seed, and go through them by what the storage holds.
            if not isinstance(sampler, GridSampler | QMCSampler):
                sampler = self.sampler(seed=int(SeedSequence([self.seed, number]).generate_state(1)[0]))
        return sampler

    @property
    def space(self) -> Space:
        return space_from_plain(self.params)

    @property
    def wanted(self) -> list[Objective]:
        """The objectives, taken apart."""
        return _objectives(self.objectives)


def plan_search(keys: Mapping[str, Any], swept: "Mapping[str, Override]") -> dict[str, Any]:
    """What a plan stores of a search, to make `SearchSettings` of.

    Args:
        keys: of conf/hydra/sweeper/optuna.yaml, as plain containers.
        swept: what was given a space, by key or group; those of `params` among them.

    Raises:
        InputError: anything that would keep the search from working, before any of it has begun.
    """
    plain = {**keys, "params": space_to_plain(parse_space(swept))}
    SearchSettings.from_plain(plain, trusted=None)
    return plain


def require_optuna() -> ModuleType:
    """Optuna, with its warnings sent to our log and its chatter nowhere. Raises InputError where it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise InputError("a search needs Optuna: pip install 'vae-experiments[search]'") from error
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _expand(key: str, value: Any, known: Mapping[str, Mapping[str, Any]]) -> Any:
    """The mapping that a short name stands for."""
    if value is None:  # hydra.sweeper.pruner=null
        value = "none"
    if not isinstance(value, str):
        return value
    if value not in known:
        hint = f"{did_you_mean(value, known)}; or give a _target_ of optuna.{key}s"
        raise InputError(f"{SECTION}.{key}={value}: no such {key}; {hint}")
    return known[value]


def _objectives(words: Sequence[str]) -> list[Objective]:
    """Each "direction metric", checked."""
    key = f"{SECTION}.objectives"
    found: list[Objective] = []
    for word in words:
        direction, _, metric = (part.strip() for part in word.partition(" "))
        if not metric:
            raise InputError(f"{key}: {word!r}: must be a direction and a metric, such as 'maximize val/elbo'")
        if direction not in DIRECTIONS:
            raise InputError(f"{key}: {word!r}: no such direction; {did_you_mean(direction, DIRECTIONS)}")
        if metric not in METRICS:
            raise InputError(f"{key}: {word!r}: no run logs {metric}; {did_you_mean(metric, METRICS)}")
        if metric in [objective.metric for objective in found]:
            raise InputError(f"{key}: {metric} stands there twice; give each metric once")
        found.append(Objective(metric, cast(Literal["minimize", "maximize"], direction)))
    if not found:
        raise InputError(f"{key}: is empty; give at least one, such as [maximize val/elbo]")
    return found
