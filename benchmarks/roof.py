"""How fast this machine multiplies matrices, and how much of that a training step of the seed's network asks for.

    cd benchmarks; python -m roof THREADS

Prints a JSON line: GFLOP/s of a 4096^3 product in each format, and the floating-point operations that one image takes
in one training step (a multiplication and an addition are two).
"""

import json
import sys
import time

import torch
from peers.network import Decoder, Encoder, draw
from torch.utils.flop_counter import FlopCounterMode

SIZE = 4096
REPEATS = 5


def flop_per_image() -> int:
    """Of convolutions and dense layers, forwards and backwards, counted from their shapes; nothing is computed."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        encoder, decoder = Encoder(), Decoder()
        decoder(draw(*encoder(torch.empty(1, 1, 28, 28)))).sum().backward()
    flop: int = counter.get_total_flops()
    return flop


def product_rate(dtype: torch.dtype) -> float:
    """GFLOP/s, the best of some products: a roof is what the machine can do."""
    a, b = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    out = a @ b  # the first one sets up
    seconds = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - before)
    return 2 * SIZE**3 / min(seconds) / 1e9


def main() -> None:
    """Measures both formats."""
    torch.set_num_threads(int(sys.argv[1]))
    rates = {str(dtype).removeprefix("torch."): product_rate(dtype) for dtype in (torch.bfloat16, torch.float32)}
    print(json.dumps({**rates, "flop_per_image": flop_per_image()}))


if __name__ == "__main__":
    main()
