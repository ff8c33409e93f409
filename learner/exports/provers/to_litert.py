"""Turn a network that torch wrote down into a LiteRT file: `python -I to_litert.py PACKAGES NETWORK SIDE TARGET`."""

import sys

packages, network, side, target = sys.argv[1:]
sys.path.insert(0, packages)

import litert_torch  # type: ignore[import-not-found]  # noqa: E402
import torch  # noqa: E402

program = torch.export.load(network)
pixels = torch.zeros(1, int(side), int(side), 3, dtype=torch.uint8)
litert_torch.convert(program.module(), sample_kwargs={"pixels": pixels}).export(target)
