"""A program of its own: open the fastai pickle in the argument, and write its tensors to standard output.

It imports nothing of Thaw. Before the pickle is opened the process gives up what it can: writing anywhere but in the
folder that it was started in (Landlock, else a limit of no bytes), and a network (a namespace of its own, Landlock).
What it writes is a safetensors file: the body's tensors, the head's, noise with what the network says of it, the rest.
"""

import ctypes
import io
import json
import os
import struct
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_NO_NEW_PRIVS = 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF, PATH_BENEATH = 444, 445, 446, 1
WRITES = 0b111_1111_1110_0010 & ~0b1100  # of Landlock: write, remove, make whatever; not read and execute
TRUNCATE = 1 << 14
AS_THEY_ARE = {"mean": [0.0] * 3, "std": [1.0] * 3}
"""Of images that are not normalised: fastai only scales them to 0 to 1."""
NETWORK = 0b11
"""Bind and connect over TCP, from Landlock's fourth version on."""


def keep_from_writing(libc) -> bool:
    """Whether Landlock keeps this process from changing anything but what lies in its folder."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    handled = WRITES & ~TRUNCATE if version < 3 else WRITES | TRUNCATE
    handled &= ~(1 << 13) if version < 2 else ~0
    rules = struct.pack("QQ", handled, NETWORK)[: 16 if version >= 4 else 8]
    ruleset = libc.syscall(CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint32(0))
    own = struct.pack("=Qi", handled, os.open(".", os.O_PATH))
    if ruleset < 0 or libc.syscall(ADD_RULE, ctypes.c_int(ruleset), PATH_BENEATH, own, ctypes.c_uint32(0)) < 0:
        return False
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return libc.syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0


def give_up_what_it_can() -> str:
    """A sentence on what the process cannot do any more."""
    kept = []
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux" and (
            libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
        ):
            kept.append("had no network")
        if sys.platform == "linux" and keep_from_writing(libc):
            kept.append("could change no file")
            return _sentence(kept)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        kept.append("could write nothing into files")
    return _sentence(kept)


def _sentence(kept: list) -> str:
    if not kept:
        return "The pickle was opened in a process of its own, which this system could not keep from anything."
    return f"The pickle was opened in a process of its own, which {' and '.join(kept)}."


def main() -> None:
    """Open the pickle and write what it holds."""
    warnings.simplefilter("ignore")
    result = os.dup(1)
    os.dup2(2, 1)  # what the pickle prints is no part of the answer
    import torch
    from fastai.learner import load_learner
    from safetensors.torch import save

    tempfile.tempdir = str(Path.cwd())  # else some libraries look for one by writing
    kept = give_up_what_it_can()
    learn = load_learner(sys.argv[1])
    model = learn.model.eval().float()
    body, head = (part.state_dict() for part in model[:2])
    resize = next(each for each in learn.dls.after_item.fs if type(each).__name__ == "Resize")
    norms = [each for each in learn.dls.after_batch.fs if type(each).__name__ == "Normalize"]
    statistics = (
        {name: getattr(norms[0], name).flatten().tolist() for name in ("mean", "std")} if norms else AS_THEY_ARE
    )
    side = int(min(resize.size))
    probe = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = model(probe)
    about = {
        "kept": kept,
        "classes": [str(name) for name in learn.dls.vocab],
        **statistics,
    }
    tensors = {f"body:{name}": tensor for name, tensor in body.items()}
    tensors |= {f"head:{name}": tensor for name, tensor in head.items()}
    tensors |= {"probe": probe, "said": said.float()}
    tensors["about"] = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)
    content = save(
        {f"{number:05}:{name}": tensor.clone().contiguous() for number, (name, tensor) in enumerate(tensors.items())}
    )
    with io.FileIO(result, "w") as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
