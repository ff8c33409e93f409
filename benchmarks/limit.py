"""The least time the two-phase job can take: the arithmetic it needs, at the rate of the machine's matrix products.

python benchmarks/limit.py     prints the rates as one JSON line, in multiply-adds a second

Only convolutions count, computed directly; all else (pooling, the head, reading photos) would come on top.
"""

import json
import time

VGG16 = (
    ((3, 64), (64, 64)),
    ((64, 128), (128, 128)),
    ((128, 256), (256, 256), (256, 256)),
    ((256, 512), (512, 512), (512, 512)),
    ((512, 512), (512, 512), (512, 512)),
)
"""Channels in and out of every 3 x 3 convolution, block by block. Each block ends in a pooling that halves the side.
Source: Simonyan & Zisserman 2015, arXiv:1409.1556, table 1, column D."""

MATRIX = 4096
"""Side of the matrices whose product is timed."""
TIMED_S = 10.0
"""Products are repeated this long, as the fastest one is what the machine can do undisturbed."""


def stage_macs(side: int = 224) -> list[int]:
    """Multiply-adds of each block's forward pass for one image of `side` x `side` pixels."""
    return [
        sum(9 * channels_in * channels_out for channels_in, channels_out in convolutions) * (side >> index) ** 2
        for index, convolutions in enumerate(VGG16)
    ]


def job_macs(train: int, valid: int, epochs: int, side: int = 224) -> int:
    """Multiply-adds of a warm-up of any length, then `epochs` epochs of block5, when nothing is computed twice.

    Blocks 1 to 4 see every image once in all. Block 5 sees every image once for the whole warm-up, and in each later
    epoch forwards every image and backwards the training images: gradients of all its weights, and of the inputs of
    all its convolutions but the first, below which nothing learns.
    """
    *frozen, block5 = stage_macs(side)
    convolutions = len(VGG16[-1])
    backward = block5 + block5 * (convolutions - 1) // convolutions
    images = train + valid
    return images * (sum(frozen) + block5) + epochs * (images * block5 + train * backward)


def matmul_rates() -> dict[str, float]:
    """Multiply-adds a second of torch's own matrix product on this machine, in each precision."""
    import torch

    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.rand(MATRIX, MATRIX).to(dtype) for _ in range(2))
        fastest, began = float("inf"), time.perf_counter()
        while time.perf_counter() - began < TIMED_S:
            start = time.perf_counter()
            torch.mm(a, b)
            fastest = min(fastest, time.perf_counter() - start)
        rates[name] = MATRIX**3 / fastest
    return rates


if __name__ == "__main__":
    print(json.dumps(matmul_rates()))
