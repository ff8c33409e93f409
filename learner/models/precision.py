"""Which number format a backbone computes in on this machine, and why."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from learner.errors import RecipeError
from learner.recipe.parts import PrecisionName

DTYPES: dict[PrecisionName, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
VOLTA = (7, 0)
"""First CUDA compute capability whose matrix units take fp16."""


@dataclass(frozen=True)
class Precision:
    """A number format for the stages of a backbone; the head and the loss stay in fp32."""

    name: PrecisionName
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
        return torch.autocast(device.type, self.dtype) if self.is_low else nullcontext()


def precisions(wanted: PrecisionName | Literal["auto"], device: torch.device) -> list[Precision]:
    """Those to choose from for a recipe's `precision`, the likeliest first; which is fastest depends on the backbone.

    On a CPU with units for bf16, VGG16 trains several times faster in it, while depthwise convolutions have slow
    gradients there (measured: docs/benchmarks.md).
    Raises RecipeError for a format that the device cannot train in.
    """
    if wanted == "fp16" and device.type == "cpu" and not torch.cpu.get_capabilities().get("avx512_fp16"):
        raise RecipeError(["precision: fp16 needs a GPU or a processor with AVX512-FP16. Use auto"])
    if wanted != "auto":
        return [Precision(wanted, "As the recipe asks.")]
    if device.type == "cuda":
        return [_of_gpu(device)]
    plain = Precision("fp32", "This processor has no units for shorter number formats.")
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        for key, units in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
            if features.get(key):
                has = f"This processor has units for bf16 ({units})"
                return [
                    Precision("bf16", f"{has}."),
                    Precision("fp32", f"{has}, but not all of this backbone suits them."),
                ]
    return [plain]


def precision_for_inference(trained_in: str, device: torch.device) -> Precision:
    """What a model was trained in, where this device does that at full speed; else fp32, which is never far from it."""
    choice: dict[str, Precision] = {precision.name: precision for precision in precisions("auto", device)}
    return choice.get(trained_in, Precision("fp32", f"This device is not made for {trained_in}."))


def _of_gpu(device: torch.device) -> Precision:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision("bf16", "This GPU computes in bf16 at full speed.")
    if torch.cuda.get_device_capability(device) >= VOLTA:
        return Precision("fp16", "This GPU has matrix units for fp16, but none for bf16.")
    return Precision("fp32", "This GPU has no matrix units for bf16 or fp16.")
