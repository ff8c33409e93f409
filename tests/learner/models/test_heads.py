"""The heads: what they compute, held against plain torch, and that a pickle of them needs no Thaw."""

import pickle
import subprocess
import sys

import pytest
import torch
from fastai.vision.learner import create_head

from learner.models.heads import AttentionPool, as_plain_torch, build_head
from learner.recipe import Head

FEATURES = torch.randn(4, 16, 3, 5, generator=torch.Generator().manual_seed(0))


def parameters(head) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


def test_a_linear_head_is_the_mean_over_the_map_and_one_layer():
    head = build_head(Head("linear"), 16, 3, (3, 5))
    assert parameters(head) == 16 * 3 + 3
    expected = FEATURES.mean((2, 3)) @ head[-1].weight.T + head[-1].bias
    torch.testing.assert_close(head(FEATURES), expected)


def test_a_flattening_head_has_vgg_like_layers_of_the_widths_asked_for():
    head = build_head(Head("fc", widths=[7, 5], dropout=0.25, pool="flatten"), 16, 3, (3, 5)).eval()
    linear = [layer for layer in head if isinstance(layer, torch.nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(7, 16 * 3 * 5), (5, 7), (3, 5)]
    assert [layer.p for layer in head if isinstance(layer, torch.nn.Dropout)] == [0.25, 0.25]
    x = FEATURES.flatten(1)
    for layer in linear[:-1]:
        x = (x @ layer.weight.T + layer.bias).clamp_min(0)
    torch.testing.assert_close(head(FEATURES), x @ linear[-1].weight.T + linear[-1].bias)


def test_an_fc_head_that_averages_does_not_depend_on_the_maps_size():
    head = build_head(Head("fc", widths=[8]), 16, 3, (7, 7))
    assert head(FEATURES).shape == head(FEATURES[:, :, :1, :1]).shape == (4, 3)


def test_the_usual_head_is_fastais_own():
    own, theirs = build_head(Head(dropout=0.3), 16, 3, (3, 5)), create_head(16, 3, ps=0.3)
    assert repr(own) == repr(theirs)


def test_attention_weighs_every_place_and_an_even_map_is_average_pooling():
    pool = AttentionPool(16).eval()
    weights = pool.attention(FEATURES)
    assert weights.shape == (4, 1, 3, 5)
    assert ((weights > 0) & (weights < 1)).all()
    pooled = pool(FEATURES)
    by_hand = torch.stack(
        [
            sum(pool.norm(FEATURES)[i, :, y, x] * weights[i, 0, y, x] for y in range(3) for x in range(5))
            / weights[i].sum()
            for i in range(4)
        ]
    )
    torch.testing.assert_close(pooled, by_hand)
    with torch.no_grad():
        pool.look[-2].weight.zero_()
    torch.testing.assert_close(pool(FEATURES), pool.norm(FEATURES).mean((2, 3)))


def test_attention_learns_where_the_class_shows():
    """The class stands in one place of a noisy map; the place changes from image to image."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)

    def images(number: int):
        x = torch.randn(number, 16, 6, 6, generator=random)
        y = torch.randint(2, (number,), generator=random)
        places = torch.randint(36, (number,), generator=random)
        marks = torch.nn.functional.one_hot(places, 36).view(number, 6, 6).bool()
        x.permute(0, 2, 3, 1)[marks] = 0.0
        x.permute(0, 2, 3, 1)[marks] += torch.nn.functional.one_hot(y, 16) * 6.0 + torch.eye(16)[15] * 6.0
        return x, y, marks

    head = build_head(Head("attention", widths=[], dropout=0.0), 16, 2, (6, 6))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(150):
        x, y, _ = images(64)
        torch.nn.functional.cross_entropy(head(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    x, y, marks = images(200)
    head.eval()
    assert (head(x).argmax(1) == y).float().mean() > 0.9
    attention = head[0].attention(x)[:, 0]
    assert attention[marks].mean() > 3 * attention[~marks].mean()


def test_pickles_of_portable_heads_open_where_thaw_is_not_installed(tmp_path):
    answers = {}
    for kind in ("fastai", "fc", "linear", "attention"):
        head = build_head(Head(kind), 16, 3, (3, 5)).eval()
        plain = as_plain_torch(head)
        torch.testing.assert_close(plain(FEATURES), head(FEATURES), rtol=0, atol=0)
        answers[kind] = (plain, FEATURES, head(FEATURES))
    (tmp_path / "heads.pkl").write_bytes(pickle.dumps(answers))
    code = (
        "import sys, pickle, pathlib; sys.modules['learner'] = None; import fastai.layers\n"
        "answers = pickle.loads(pathlib.Path('heads.pkl').read_bytes())\n"
        "assert [kind for kind, (head, x, y) in answers.items() if (head(x) != y).any()] == []"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("kind", ["solved", "multiscale"])
def test_heads_that_are_solved_are_one_layer_on_maxima_and_means(kind):
    head = build_head(Head(kind), 16, 3, (3, 5))
    seen = torch.cat([FEATURES.amax((2, 3)), FEATURES.mean((2, 3))], 1)
    torch.testing.assert_close(head(FEATURES), seen @ head[-1].weight.T + head[-1].bias)
