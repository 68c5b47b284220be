"""A model's two halves as files that other programs load, each checked against the model itself."""

import importlib.util
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vae_experiments.errors import InputError
from vae_experiments.generation.inference import evaluating
from vae_experiments.models.vae import VAE
from vae_experiments.tracking.models import freeze, halves

Format = Literal["onnx", "pt2"]

# What goes in and comes out of each half: names that an ONNX file carries.
NAMES = {"encoder": ("images", "codes"), "decoder": ("latents", "images")}
CHECKED = (1, 2, 33)  # images in the batches that the files are checked with


@dataclass(frozen=True)
class Exported:
    """A file written, and how far at most a number out of it was from the model's own."""

    path: Path
    difference: float


def missing_packages(formats: Sequence[Format]) -> list[str]:
    """The packages that those formats need and that are not installed."""
    needed = ("onnx", "onnxscript", "onnxruntime") if "onnx" in formats else ()
    return [name for name in needed if importlib.util.find_spec(name) is None]


def export(
    vae: VAE, out: Path, formats: Sequence[Format], *, tolerance: float, notes: Mapping[str, str]
) -> Iterator[Exported]:
    """Writes encoder and decoder in each of the formats, as out/encoder.onnx and so on, and says how exact each is.

    The encoder takes images [N, C, H, W] in [0, 1] to codes [N, latent_dim], the decoder latents [N, latent_dim] to
    images, both float32 and for any N. A file is in its place only after it was read back and computed the same.

    Args:
        vae: the model, on the CPU.
        out: an existing folder.
        formats: onnx, for ONNX Runtime and what else reads it; pt2, for torch.export.load.
        tolerance: how far a number may be from the model's own: of a code in latent units, of a pixel in [0, 1].
        notes: written into the ONNX files.

    Raises:
        InputError: a network that cannot be exported, or a file that is less exact than that.
        OSError: the folder cannot be written.
    """
    inputs = _inputs(vae)
    for half, (module, example) in halves(vae).items():
        frozen = freeze(module)
        with _quiet(), torch.no_grad():  # inference's layers into the graph, not training's
            try:
                program = torch.export.export(frozen, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
            except Exception as error:  # of many kinds: whatever a layer does that a graph cannot hold
                raise InputError(f"{half}: torch.export does not take this network: {_first_line(error)}") from error
        for kind in formats:
            with tempfile.TemporaryDirectory(dir=out, prefix=".exporting-") as scratch:
                path = Path(scratch) / f"{half}.{kind}"
                with _quiet():
                    run = _WRITERS[kind](program, path, half, notes)
                    difference = max(_difference(run, frozen, x) for x in inputs[half])
                if not difference <= tolerance:  # a NaN is not
                    raise InputError(
                        f"{half}.{kind}: is up to {difference:.1e} from the model, which is more than "
                        f"tolerance={tolerance:g}: it was not kept"
                    )
                os.replace(path, out / path.name)
            yield Exported(out / path.name, difference)


def _inputs(vae: VAE) -> dict[str, list[Tensor]]:
    """Latents from the prior, and as images what they decode to and uniform noise, in batches of CHECKED."""
    generator = torch.Generator().manual_seed(0)
    with evaluating(vae):
        latents = [vae.latents().sample(n, generator) for n in CHECKED]
        images = [vae.images(z) for z in latents]
    noise = [torch.rand(n, *vae.image_shape, generator=generator) for n in CHECKED]
    return {"encoder": images + noise, "decoder": latents}


def _difference(run: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> float:
    with torch.inference_mode():
        return float((run(x) - module(x)).abs().max())


def _write_pt2(
    program: torch.export.ExportedProgram, path: Path, half: str, notes: Mapping[str, str]
) -> Callable[[Tensor], Tensor]:
    torch.export.save(program, path)
    return torch.export.load(path).module()


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, half: str, notes: Mapping[str, str]
) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    given, result = NAMES[half]
    written = torch.onnx.export(
        program,
        input_names=[given],
        output_names=[result],
        dynamic_shapes=({0: "batch"},),
        external_data=False,  # one file
        verbose=False,
        dynamo=True,
    )
    assert written is not None
    written.model.metadata_props.update(notes)
    written.save(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run([result], {given: x.numpy()})[0])

    return run


_WRITERS = {"onnx": _write_onnx, "pt2": _write_pt2}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of packages that they could also have used, and of their own future."""
    levels = {
        logger: logger.level for logger in map(logging.getLogger, ("torch.onnx", "torch.fx", "onnxscript", "onnx_ir"))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in levels:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
