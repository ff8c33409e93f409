"""A body that gives two feature maps, against the two maps of a plain one."""

import pytest
import torch

from learner.models.backbones import build
from learner.models.scales import carried_channels

LARGER = {"vgg11": "block4", "test_resnet": "layer3", "tf_efficientnet_lite0": "block5", "small_cnn": "conv2"}
"""The last stage whose output is larger than the network's."""


def both(arch: str, side: int):
    """The maps of a plain body by stage, and what a body with the same weights and two scales gives."""
    plain, two = build(arch, "random"), build(arch, "random", two_scales=True)
    two.body.load_state_dict(plain.body.state_dict())
    x, maps = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)), {}
    with torch.no_grad():
        given = two.body.eval()(x)
        for name, stage in plain.body.eval().named_children():
            maps[name] = x = stage(x)
    return plain, two, maps, given


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize("arch", LARGER)
def test_it_gives_the_last_map_and_beside_it_the_last_larger_one_in_its_size(arch, side):
    plain, two, maps, given = both(arch, side)
    last, larger = maps[plain.stages[-1]], maps[LARGER[arch]]
    assert larger.shape[2] > last.shape[2]
    own = plain.num_features
    assert two.num_features == own + larger.shape[1] == given.shape[1]
    assert carried_channels(two.body) == larger.shape[1]
    assert torch.equal(given[:, :own], last)
    height = last.shape[2]
    for row in range(height):
        for column in range(height):
            block = larger[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.allclose(given[:, own:, row, column], block.mean((2, 3)), atol=1e-6)


def test_layers_keep_their_names_so_that_weights_go_from_one_to_the_other():
    plain, two = build("vgg11", "random"), build("vgg11", "random", two_scales=True)
    assert list(plain.body.state_dict()) == list(two.body.state_dict())
    assert plain.timm_names == two.timm_names and plain.stages == two.stages


def test_a_network_whose_stages_are_no_chains_of_layers_gives_its_last_map_alone():
    convnext = build("convnext_atto", "random", two_scales=True)
    assert carried_channels(convnext.body) == 0
    assert convnext.body(torch.rand(1, 3, 64, 64)).shape[1] == convnext.num_features == 320


def test_gradients_reach_the_larger_map():
    two = build("test_resnet", "random", two_scales=True)
    x = torch.rand(1, 3, 64, 64)
    stages = list(two.body)
    for stage in stages[:-1]:
        x = stage(x)
    x = x.detach().requires_grad_()
    stages[-1](x)[:, -carried_channels(two.body) :].sum().backward()
    # Each of 4 × 4 places is a quarter of one averaged place, whatever the stage's own layers do.
    assert torch.equal(x.grad, torch.full_like(x, 0.25))
