"""A section of the bench: what each of the things that make a training step fast is worth on its own.

python benchmarks/ablation.py
"""

import statistics
from collections import defaultdict

from child import measured
from settings import Settings

BATCH_SIZES = (128, 16)
WITHOUT = {
    "nothing": "all of it",
    "precision": "bfloat16 products (`trainer.precision=float32`)",
    "layout": "channels last in memory (`trainer.channels_last=false`)",
    "order": "flattening in the order of channels last (no key: the weights would be other ones)",
    "layers": "layers computed another way than PyTorch's, kernels among them (`trainer.rewritten_layers=false`)",
    "kernels": "layers and updates by kernels compiled for the CPU (`trainer.kernels=false`)",
    "float32 kernels": "the same of a step in float32 (`trainer.kernels=false trainer.precision=float32`)",
    "memory": "memory kept from the kernel (`trainer.keep_memory=false`)",
    "fused": "all weights updated in one pass (`optimizer.fused=false`)",
}

Rates = dict[tuple[str, int], list[float]]


def measure(settings: Settings) -> Rates:
    """Images per second without each, in every round."""
    rates: Rates = defaultdict(list)
    for _ in range(settings.rounds):
        for batch_size in BATCH_SIZES:
            for what in WITHOUT:
                answer = measured("ablated", what, batch_size, settings.threads, threads=settings.threads)
                rates[what, batch_size].append(answer["images_per_second"])
    return rates


def markdown(rates: Rates) -> str:
    """The section."""

    def cell(what: str, batch_size: int) -> str:
        own, whole = rates[what, batch_size], rates["precision" if "float32" in what else "nothing", batch_size]
        if what == "nothing":
            return f"{statistics.median(own):,.0f} images/s"
        return f"{statistics.median(a / b for a, b in zip(own, whole, strict=True)):.2f}"

    rows = [f"| {text} | {' | '.join(cell(what, size) for size in BATCH_SIZES)} |" for what, text in WITHOUT.items()]
    head = f"| without | {' | '.join(f'batch {size}' for size in BATCH_SIZES)} |\n|---|{'---:|' * len(BATCH_SIZES)}"
    return (
        "## What each part is worth\n\n"
        "The default network's training step without one thing at a time, to the step with all of them, in the same "
        "round; of `trainer.flush_denormals` below. The layers compute what PyTorch's compute, which "
        "`tests/models/test_layers.py` and `tests/kernels` hold them to.\n\n" + "\n".join([head, *rows])
    )


if __name__ == "__main__":
    print(markdown(measure(Settings())))
