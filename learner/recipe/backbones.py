"""The backbones that are known by name: labels, repositories, stages. Others of timm's work too."""

from dataclasses import dataclass

VGG16_HUB_ID = "timm/vgg16.tv_in1k"

SMALL_CNN = "small_cnn"
"""Three convolutions that nobody has pretrained, as a baseline; see `learner.models.backbones`."""
KERAS_RESNET50 = "keras_resnet50"
"""timm's ResNet-50, but for where its blocks take every second pixel: at their first convolution, as Keras has it."""
FALLBACK_ARCH = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class KnownBackbone:
    """A backbone that a select box offers: timm's name, a person's name, timm's repository on the hub, its stages.

    The repository is empty where there is none.
    """

    arch: str
    label: str
    hub_id: str
    stages: tuple[str, ...]
    """As `backbones.build` names them, for pages, which do not import torch."""
    batch_norm: bool = True


_VGG = ("block1", "block2", "block3", "block4", "block5")
_RESNET = ("stem", "layer1", "layer2", "layer3", "layer4")
_MOBILE = ("stem", "block1", "block2", "block3", "block4", "block5", "block6", "block7")
_CONVNEXT = ("stem", "stage1", "stage2", "stage3", "stage4")


KNOWN_BACKBONES = (
    KnownBackbone("vgg16", "VGG16", VGG16_HUB_ID, _VGG, batch_norm=False),
    KnownBackbone("vgg16_bn", "VGG16-BN", "timm/vgg16_bn.tv_in1k", _VGG),
    KnownBackbone("vgg19", "VGG19", "timm/vgg19.tv_in1k", _VGG, batch_norm=False),
    KnownBackbone("vgg19_bn", "VGG19-BN", "timm/vgg19_bn.tv_in1k", _VGG),
    KnownBackbone("vgg13", "VGG13", "timm/vgg13.tv_in1k", _VGG, batch_norm=False),
    KnownBackbone("vgg11", "VGG11", "timm/vgg11.tv_in1k", _VGG, batch_norm=False),
    KnownBackbone("resnet18", "ResNet-18", "timm/resnet18.a1_in1k", _RESNET),
    KnownBackbone("resnet34", "ResNet-34", "timm/resnet34.a1_in1k", _RESNET),
    KnownBackbone("resnet50", "ResNet-50", "timm/resnet50.a1_in1k", _RESNET),
    KnownBackbone(FALLBACK_ARCH, "EfficientNet-Lite0", "timm/tf_efficientnet_lite0.in1k", (*_MOBILE, "head_conv")),
    KnownBackbone("efficientnet_b0", "EfficientNet-B0", "timm/efficientnet_b0.ra_in1k", (*_MOBILE, "head_conv")),
    KnownBackbone("mobilenetv3_large_100", "MobileNetV3-Large", "timm/mobilenetv3_large_100.ra_in1k", _MOBILE),
    KnownBackbone("densenet121", "DenseNet-121", "timm/densenet121.ra_in1k", _MOBILE[:5]),
    KnownBackbone("convnext_atto", "ConvNeXt-Atto", "timm/convnext_atto.d2_in1k", _CONVNEXT, batch_norm=False),
    KnownBackbone("convnext_tiny", "ConvNeXt-Tiny", "timm/convnext_tiny.in12k_ft_in1k", _CONVNEXT, batch_norm=False),
    KnownBackbone(SMALL_CNN, "Small CNN, from scratch", "", ("conv1", "conv2", "conv3"), batch_norm=False),
)
_BY_ARCH = {known.arch: known for known in KNOWN_BACKBONES}


def known_backbone(arch: str) -> KnownBackbone | None:
    """The known backbone of timm's name `arch`; None for any other."""
    return _BY_ARCH.get(arch)
