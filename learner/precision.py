"""Which number format a backbone computes in on this machine, and why."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from learner.errors import RecipeError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TURING = (7, 0)
"""First CUDA compute capability whose matrix units take fp16."""


@dataclass(frozen=True)
class Precision:
    """A number format for the stages of a backbone; the head and the loss stay in fp32."""

    name: str
    """`fp32`, `bf16` or `fp16`."""
    reason: str
    """A sentence for a person."""

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.name]

    @property
    def is_low(self) -> bool:
        return self.name != "fp32"

    @property
    def needs_scaling(self) -> bool:
        """Small gradients vanish in fp16 unless the loss is scaled up (Micikevicius et al. 2018, arXiv:1710.03740)."""
        return self.name == "fp16"

    def autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, self.dtype, enabled=self.is_low)


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """`wanted` is a recipe's `precision`. Raises RecipeError for a format that the device cannot train in."""
    best = _best(device)
    if wanted == "auto":
        return best
    if wanted == "fp16" and device.type == "cpu" and not torch.cpu.get_capabilities().get("avx512_fp16"):
        raise RecipeError(
            [f"precision: fp16 needs a GPU or a processor with AVX512-FP16, and this has neither. Use {best.name}"]
        )
    return Precision(wanted, "As the recipe asks.")


def _best(device: torch.device) -> Precision:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", "This GPU computes in bf16 at full speed.")
        if torch.cuda.get_device_capability(device) >= TURING:
            return Precision("fp16", "This GPU has matrix units for fp16, but none for bf16.")
        return Precision("fp32", "This GPU has no matrix units for bf16 or fp16.")
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        for key, units in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
            if features.get(key):
                return Precision("bf16", f"This processor has units for bf16 ({units}).")
    return Precision("fp32", "This processor has no units for shorter number formats.")
