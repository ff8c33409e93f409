"""fastai's `learner.pkl`, opened in a process that can neither write files nor reach a network, as far as that goes.

Whatever the pickle runs runs there. Only tensors and plain values come back, through a pipe, in a format that cannot
run anything, and what they say is checked here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from learner.errors import BackboneError, ModelError
from learner.importing.foreign import Foreign, network_of
from learner.jobs.process import Tell
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import map_size
from learner.recipe import Head
from learner.recipe.backbones import KNOWN_BACKBONES

PROGRAM = Path(__file__).with_name("pickle_program.py")
LONGEST_S = 300
MOST_BYTES = 4 * 10**9
MOST_DIFFERENCE = 1e-3
HEADS = tuple(Head(kind=kind) for kind in ("fastai", "multiscale", "solved", "linear"))
"""Kinds of head that a pickle may hold, beside those with hidden layers."""


def read_pickle(path: Path, arch: str | None, tell: Tell = lambda text: None) -> Foreign:
    """The network in fastai's `learner.pkl`. Raises ModelError.

    Which network it is follows from the shapes of its tensors, or is `arch`; what it says of noise must be what the
    one made here says.
    """
    tell("Opening the pickle in a process of its own, which can neither write files nor reach a network")
    about, tensors = _opened(path)
    body = [tensor for name, tensor in tensors.items() if name.startswith("body:")]
    head = {name.removeprefix("head:"): tensor for name, tensor in tensors.items() if name.startswith("head:")}
    probe, said = tensors["probe"], tensors["said"]
    candidates = [arch] if arch else [known.arch for known in KNOWN_BACKBONES]
    for candidate in candidates:
        found = _fitted(candidate, body, head, about, probe.shape[-1])
        if found is None:
            continue
        with torch.no_grad():
            ours = network_of(found, found.outputs)[0](probe)
        if ours.shape == said.shape and float((ours - said).abs().max()) <= MOST_DIFFERENCE * max(
            1.0, float(said.abs().max())
        ):
            found.notes = [about["kept"], *found.notes]
            return found
    named = f"is not {arch}" if arch else "is none of those that are known by name; name timm's architecture: --arch"
    raise ModelError(f"Its network {named}, or it has a head that none here is like.")


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the process hands back. Raises ModelError."""
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), str(path.resolve())],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": folder, "TORCHINDUCTOR_CACHE_DIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            content, trouble = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            raise ModelError("Opening the pickle took more than five minutes, and was ended.") from None
        finally:
            process.kill()
            process.wait()
    if process.returncode or len(content) > MOST_BYTES:
        lines = trouble.decode("utf-8", "replace").strip().splitlines()
        raise ModelError(f"It could not be opened as a fastai learner: {(lines or ['no reason given'])[-1][:300]}")
    try:
        numbered = load(content)
        tensors = {name.partition(":")[2]: numbered[name] for name in sorted(numbered)}
        about = json.loads(bytes(tensors.pop("about").tolist()))
        classes = [str(name) for name in about["classes"]]
        numbers = [float(value) for value in (*about["mean"], *about["std"])]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"What the pickle holds is no image classifier of fastai ({error}).") from None
    if len(numbers) != 6 or not tensors.keys() >= {"probe", "said"} or len(set(classes)) != len(classes):
        raise ModelError("What the pickle holds is no image classifier of fastai.")
    return about | {"classes": classes}, tensors


def _fitted(arch: str, body: list[Tensor], head: dict[str, Tensor], about: dict[str, Any], side: int) -> Foreign | None:
    """The network, where every tensor of the body has the shape that `arch` has at its place; else None."""
    hidden = [len(tensor) for tensor in head.values() if tensor.ndim == 2][:-1]
    kinds = [*HEADS]
    if 0 < len(hidden) <= 5:
        kinds += [Head(kind="fc", pool=pool, widths=hidden, dropout=0.0) for pool in ("average", "flatten")]
    for kind in kinds:
        try:
            backbone = build(arch, "random", two_scales=kind.two_scales)
        except BackboneError as error:
            raise ModelError(str(error)) from None
        own = backbone.body.state_dict()
        if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in body]:
            return None
        maps = map_size(backbone.body, side)
        state = build_head(kind, backbone.num_features, len(about["classes"]), maps).state_dict()
        if [tensor.shape for tensor in state.values()] == [tensor.shape for tensor in head.values()]:
            return Foreign(
                arch,
                dict(zip(own, body, strict=True)),
                kind,
                None,
                side,
                [float(value) for value in about["mean"]],
                [float(value) for value in about["std"]],
                "fastai",
                about["classes"],
                dict(zip(state, head.values(), strict=True)),
                ["fastai may have cropped or padded images to a square; here they are squished to one."],
            )
    return None
