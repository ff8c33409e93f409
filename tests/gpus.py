"""A stand-in for `nvidia-smi`, which only machines with a GPU have: programs that are started with it see such GPUs."""

import os
from pathlib import Path

TWO_GPUS = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-aaaa-0000-0000-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-22222222-bbbb-0000-0000-000000000000)
"""
FIRST, SECOND = "GPU-11111111-aaaa-0000-0000-000000000000", "GPU-22222222-bbbb-0000-0000-000000000000"


def path_with_gpus(folder: Path, listing: str = TWO_GPUS) -> str:
    """What to set `PATH` to, so that `nvidia-smi -L` says `listing`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = -L ] || exit 6\ncat <<'END'\n{listing}END\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
