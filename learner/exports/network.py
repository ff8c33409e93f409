"""Everything from pixels to answers as one network, which the formats without PyTorch are written of."""

import copy

import torch
from torch import Tensor, nn

from learner.exports.contents import Contents
from learner.models.network import head_of

INPUT, OUTPUTS = "pixels", ("probabilities", "distance", "none_of_these")


class ExportedNetwork(nn.Module):
    """Everything from pixels to answers.

    Takes `pixels` (images, image_size, image_size, 3) of bytes, RGB, squished; gives `probabilities` (images, classes),
    `distance` (images,) from the training images, and `none_of_these` (images,) of booleans. Where the model cannot
    tell, the distance is 0 and none of these is false.
    """

    outputs: tuple[str, ...] = OUTPUTS
    mean: Tensor
    std: Tensor
    reference: Tensor

    def __init__(self, contents: Contents):
        super().__init__()
        self.body = contents.model[0]
        self.head: nn.Module = with_plain_pools(head_of(contents.model))
        self.temperature, self.neighbours = contents.spec.temperature, contents.spec.neighbours
        self.threshold = contents.threshold
        self.register_buffer("mean", torch.tensor(contents.spec.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(contents.spec.std).view(1, 3, 1, 1))
        self.register_buffer("reference", contents.reference)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.maps(pixels)
        return self.answers(maps, self.head(maps))

    def maps(self, pixels: Tensor) -> Tensor:
        """What leaves the body, (images, num_features, height, width)."""
        return self.body((pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std)

    def answers(self, maps: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs, from what leaves body and head."""
        probs = (logits / self.temperature).softmax(1)
        if self.threshold is None:
            distance = probs[:, 0] * 0
            return probs, distance, distance > 1
        features = nn.functional.normalize(maps.mean((2, 3)))
        distance = 1 - self.nearest(features @ self.reference.T)
        return probs, distance, distance > self.threshold

    def nearest(self, likeness: Tensor) -> Tensor:
        """(images,): of `likeness` (images, references) the one that counts."""
        return likeness.topk(self.neighbours).values[:, -1]


class WithoutSorting(ExportedNetwork):
    """The same for runtimes that cannot sort: the greatest is taken out, again and again."""

    def nearest(self, likeness: Tensor) -> Tensor:
        places = torch.arange(likeness.shape[1])
        for _ in range(self.neighbours - 1):
            likeness = torch.where(places == likeness.argmax(1, keepdim=True), -2.0, likeness)  # a cosine is -1 or more
        return likeness.amax(1)


class _Average(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class _Greatest(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3), keepdim=True)


def with_plain_pools(head: nn.Sequential) -> nn.Sequential:
    """A copy whose pooling over the whole map is a mean or a maximum, which every converter knows."""
    head = copy.deepcopy(head)
    for part in list(head.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(part, name, _Average())
            elif isinstance(child, nn.AdaptiveMaxPool2d):
                setattr(part, name, _Greatest())
    return head
