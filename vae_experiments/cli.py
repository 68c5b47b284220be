"""The `vae` command: finds the verb, runs it, and turns how it ended into an exit status.

Nothing heavy is imported before a verb is chosen.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from vae_experiments import __version__, garbage
from vae_experiments.errors import InputError, Interrupted, RunFailed

# Verb: (module with the function of the same name, what --help says of it).
VERBS = {
    "train": "train one model, or with -m a sweep of them",
    "resume": "continue an interrupted run or sweep (default: the latest unfinished one)",
    "compare": "a sweep's or several runs' table and plots",
    "generate": "samples, manifold, traversals, interpolations, reconstructions of a trained model",
    "evaluate": "likelihood, latents, samples: what a trained model is worth",
    "extractor": "the network in whose features samples are compared with real images",
    "encode": "latents of a dataset, to Parquet or CSV",
    "reproduce": "a published table, trained again and set beside what was printed",
    "export": "encoder and decoder as ONNX and torch.export files",
    "register": "encoder and decoder into MLflow's model registry, under an alias",
    "ui": "the MLflow UI on the store that the runs are in",
    "doctor": "what this machine has, and what would be chosen on it",
}

# What stands in a verb's place: the first is what the shell asks while one types.
COMPLETION = ("--complete", "--install-completion", "--show-completion")

HELP = """\
vae: variational-autoencoder experiments with Hydra and MLflow

usage: vae VERB [key=value ...]        vae VERB --help says more about each

{verbs}

Begin with:
  vae train                                   MNIST, two latent dimensions, a few minutes
  vae train experiment=smoke                  5,000 bundled digits, seconds, no network
  vae train architecture.latent_dim=8 objective.kl_weight=2 name=wide
  vae train -m architecture.latent_dim=2,4,8 objective.kl_weight=1,4
                                              six models, side by side, compared
  vae ui                                      look at the runs

A run, or a sweep, is named by REF: latest, best, an MLflow run id or the start of one, its name,
its folder, or models:/name@alias.

vae --install-completion: the shell completes verbs, choices, keys and runs (bash, zsh, fish).

Exit status: 0 done, 1 a run failed, 2 bad input, 130 or 143 stopped by Ctrl-C or SIGTERM.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {verb:<9} {text}" for verb, text in VERBS.items())))
        return 0
    if arguments[0] in ("-V", "--version", "version"):
        print(__version__)
        return 0
    garbage.seldom()
    verb, *rest = arguments
    if verb not in VERBS and verb not in COMPLETION:
        return _refuse(_unknown_verb(verb))
    try:
        _load(verb)(rest)
    except InputError as error:
        return _refuse(str(error))
    except RunFailed as error:
        print(f"vae {verb}: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        return 128 + stop.signum
    except KeyboardInterrupt:  # before a run could take the signal over
        return 130
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print(f"vae {verb}: this is a defect of the program, please report it", file=sys.stderr)
        return 1
    return 0


def _load(verb: str) -> Callable[[Sequence[str]], None]:
    if verb in COMPLETION:
        from vae_experiments.completion.command import main as complete

        return lambda rest: complete([verb, *rest], VERBS)
    # A user's own classes live beside where they work. At the end, so that nothing there shadows a library.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    command: Callable[[Sequence[str]], None] = import_module(f"vae_experiments.verbs.{verb}").main
    return command


def _refuse(message: str) -> int:
    print(f"vae: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _unknown_verb(verb: str) -> str:
    from vae_experiments.config.suggest import did_you_mean

    return f"{verb}: no such verb; {did_you_mean(verb, VERBS)}"
