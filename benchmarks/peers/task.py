"""What the peers of quality.py are asked, and how they answer. Needs nothing but Python, as some have environments of
their own."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learn", type=Path, help="a folder with one folder a class")
    parser.add_argument("ask", type=Path, help="a folder of images without classes")
    parser.add_argument("--out", type=Path, required=True, help="where the probabilities for these are written")
    parser.add_argument("--size", type=int, required=True, help="pixels of the square that the network sees")
    parser.add_argument("--mirror", action="store_true", help="mirrored images keep their class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="VGG16 as safetensors with timm's names; random without")
    return parser.parse_args()


def answer(out: Path, classes: Sequence[str], files: Sequence[Path], probs: Sequence[Sequence[float]]) -> None:
    """Write the probabilities, one row a file, in the order of `classes`."""
    rows = {Path(file).name: [float(p) for p in row] for file, row in zip(files, probs, strict=True)}
    out.write_text(json.dumps({"classes": list(classes), "probs": rows}), "utf-8")
