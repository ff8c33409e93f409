"""timm's ResNet-50 as Keras has it: the same layers, of which other ones take every second pixel."""

from typing import TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def with_keras_strides(resnet50: Model) -> Model:
    """The same network, whose blocks take every second pixel at their first convolution instead of the second."""
    for number in (2, 3, 4):
        block = resnet50.get_submodule(f"layer{number}.0")
        for name, stride in (("conv1", 2), ("conv2", 1)):
            conv = block.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            conv.stride = (stride, stride)
    return resnet50
