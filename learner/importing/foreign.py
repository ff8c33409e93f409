"""A model that another program trained, as a network of Thaw's."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from learner.errors import ModelError
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import map_size
from learner.recipe import Head


@dataclass
class Foreign:
    """What was read out of a file; `network_of` makes a network of it."""

    arch: str
    body: dict[str, Tensor]
    """By the names of `Backbone.body.state_dict()`."""
    head: Head
    layers: list[tuple[Tensor, Tensor]] | None
    """Weight (out, in) and bias of each linear layer of the head, in order; None of a file without a classifier, or
    where `head_state` says it all."""
    image_size: int
    mean: list[float]
    """Of each channel (RGB), for values in 0 to 1; like `std`."""
    std: list[float]
    made_by: str
    """The program, for a person: `Keras`."""
    classes: list[str] = field(default_factory=list)
    """In the order of the logits; empty where the file does not name them."""
    head_state: dict[str, Tensor] | None = None
    """By the names of a whole head's `state_dict()`, where it has more than linear layers."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, each a sentence."""

    @property
    def has_classifier(self) -> bool:
        """Whether it tells classes apart."""
        return self.layers is not None or self.head_state is not None

    @property
    def outputs(self) -> int:
        """Logits; 0 without a classifier."""
        if self.layers is not None:
            return len(self.layers[-1][1])
        if self.head_state is not None:
            return len([tensor for tensor in self.head_state.values() if tensor.ndim == 2][-1])
        return 0


def network_of(foreign: Foreign, classes: int) -> tuple[nn.Sequential, list[str], int, tuple[int, int]]:
    """`Sequential(body, head)` in evaluation mode, its stages, the channels and the size of the map between them.

    Raises ModelError where a tensor has another shape than its layer.
    """
    backbone = build(foreign.arch, "random", two_scales=foreign.head.two_scales)
    size = map_size(backbone.body, foreign.image_size)
    head = build_head(foreign.head, backbone.num_features, classes, size)
    fill(backbone.body, foreign.body, "The body")
    if foreign.head_state is not None:
        fill(head, foreign.head_state, "The head")
    elif foreign.layers is not None:
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        for module, (weight, bias) in zip(linear, foreign.layers, strict=True):
            fill(module, {"weight": weight, "bias": bias}, "The head")
    return nn.Sequential(backbone.body, head).eval(), backbone.stages, backbone.num_features, size


def fill(module: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Copy `state` into `module`. Counters of batches may be missing. Raises ModelError for anything else."""
    own = module.state_dict()
    missing = [each for each in own if each not in state and not each.endswith("num_batches_tracked")]
    unlike = [each for each in state if each in own and own[each].shape != state[each].shape]
    if missing or unlike:
        first = (missing or unlike)[0]
        reason = (
            "lacks it" if missing else f"has it as {tuple(state[first].shape)} instead of {tuple(own[first].shape)}"
        )
        raise ModelError(f"{name} of the model does not fit: {first}, as the file {reason}.")
    module.load_state_dict(state, strict=False)
