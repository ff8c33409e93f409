"""Augmentation: the same three (seed, image, view) give the same picture, and each setting does what it says."""

import numpy as np
import pytest
import torch

from learner.features.augment import apply, draw
from learner.recipe import Augment

SHA = "ab" * 32


@pytest.fixture
def image() -> torch.Tensor:
    """A picture without symmetry: (1, 3, 8, 8), values 0 to 1."""
    return torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def changed(augment: Augment, image: torch.Tensor, view: int, seed: int = 1, sha256: str = SHA) -> torch.Tensor:
    return apply(image, torch.from_numpy(draw(augment, seed, sha256, view))[None])


def seen(augment: Augment, image: torch.Tensor, candidates: list[torch.Tensor]) -> set[int]:
    """Which of `candidates` come up in 100 views; each view must be one of them."""
    found = set()
    for view in range(100):
        matches = [i for i, c in enumerate(candidates) if torch.allclose(changed(augment, image, view), c, atol=1e-5)]
        assert len(matches) == 1
        found.add(matches[0])
    return found


def test_no_augmentation_changes_no_bit(image):
    assert torch.equal(changed(Augment(), image, 0), image)


def test_flips_mirror_exactly_and_happen_about_every_second_time(image):
    both = [image, image.flip(3)]
    assert seen(Augment(flip_horizontal=True), image, both) == {0, 1}
    assert seen(Augment(flip_vertical=True), image, [image, image.flip(2)]) == {0, 1}
    flipped = sum(
        torch.allclose(changed(Augment(flip_horizontal=True), image, v), both[1], atol=1e-5) for v in range(200)
    )
    assert 70 <= flipped <= 130  # four standard deviations of 200 fair coins


def test_quarter_turns_and_flips_give_the_eight_ways_to_lay_a_square(image):
    turns = [torch.rot90(image, k, (2, 3)) for k in range(4)]
    assert seen(Augment(quarter_turns=True), image, turns) == {0, 1, 2, 3}
    ways = turns + [turn.flip(3) for turn in turns]
    assert seen(Augment(quarter_turns=True, flip_horizontal=True, flip_vertical=True), image, ways) == set(range(8))


def test_rotation_stays_within_its_range():
    for view in range(50):
        matrix = draw(Augment(rotate=30), 1, SHA, view)[:6].reshape(2, 3)
        angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert -30 <= angle <= 30
        assert np.linalg.det(matrix[:, :2]) == pytest.approx(1, abs=1e-5)  # nothing is stretched


def test_zoom_shows_a_part_of_the_picture_and_nothing_beyond_it():
    scales = []
    for view in range(50):
        matrix = draw(Augment(zoom=2), 1, SHA, view)[:6].reshape(2, 3)
        corners = matrix @ np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]])
        assert np.abs(corners).max() <= 1 + 1e-6
        scales.append(1 / matrix[0, 0])
    assert 1 <= min(scales) < 1.2 and 1.8 < max(scales) <= 2


def test_zoom_between_two_factors_draws_all_ratios_alike_and_may_show_more_than_the_picture():
    scales = [1 / draw(Augment(zoom=[0.5, 2]), 1, SHA, view)[0] for view in range(400)]
    assert 0.5 <= min(scales) < 0.52 and 1.9 < max(scales) <= 2
    assert 160 <= sum(scale < 1 for scale in scales) <= 240  # four standard deviations of 400 fair coins
    smaller = torch.from_numpy(draw(Augment(zoom=[0.5, 0.5]), 1, SHA, 0))
    marks = torch.zeros(1, 3, 8, 8)
    marks[..., 2:6, 2:6] = 1
    light = float(apply(marks, smaller[None]).sum()) / float(marks.sum())
    assert light > 0.5  # half as large, and the reflections of it beside


def test_shift_moves_a_dot_by_up_to_its_share_of_width_and_height():
    dot = torch.zeros(1, 3, 40, 40)
    dot[..., 20, 20] = 1
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    moved = []
    for view in range(60):
        light = changed(Augment(shift=0.25), dot, view)[0, 0]
        assert float(light.sum()) == pytest.approx(1, abs=1e-4)  # spread over neighbours, none of it lost
        moved.append((float((light * rows).sum()) - 20, float((light * columns).sum()) - 20))
    down, right = np.array(moved).T
    for distance in (down, right):  # a quarter of 40 pixels is 10
        assert -10 <= distance.min() < -7 and 7 < distance.max() <= 10
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.4


def test_shift_moves_as_far_whatever_else_happens_to_the_picture():
    with_turns = Augment(rotate=180, zoom=[2, 2], flip_horizontal=True)
    for view in range(20):
        still, moved = (
            draw(Augment(**{**vars(with_turns), "shift": shift}), 1, SHA, view)[:6].reshape(2, 3) for shift in (0, 0.25)
        )
        distance = np.linalg.solve(still[:, :2], still[:, 2] - moved[:, 2])  # in the finished picture, which is 2 wide
        assert np.abs(distance).max() <= 0.5 + 1e-5


def test_shear_slants_an_upright_line_and_leaves_the_middle_where_it_is():
    line = torch.zeros(1, 3, 41, 41)
    line[..., 20] = 1
    columns = torch.arange(41.0)
    slants = []
    for view in range(60):
        light = changed(Augment(shear=0.2), line, view)[0, 0]
        place = (light * columns).sum(1) / light.sum(1)  # where the line crosses each row
        assert float(place[20]) == pytest.approx(20, abs=0.05)
        slants.append(float(place[40] - place[0]))
        assert np.allclose(np.diff(place.numpy()), slants[-1] / 40, atol=0.02)  # straight
    # its ends, 20 pixels above and below the middle, move by up to a fifth of that, in opposite directions
    assert -8.1 <= min(slants) < -6 and 6 < max(slants) <= 8.1


def test_settings_of_before_shear_and_shift_draw_what_they_drew():
    old = Augment(rotate=20, zoom=1.5, lighting=0.3, flip_horizontal=True, flip_vertical=True, quarter_turns=True)
    was = [-0.22709467, 0.8532257, 0.11625387, -0.8532257, -0.22709467, 0.05986917, 0.8499511, -0.03611843]
    assert draw(old, 1, SHA, 3) == pytest.approx(was, rel=1e-6)
    was = [0.5934848, 0, 0.18094973, 0, 0.5934848, -0.06777062, 1, 0]
    assert draw(Augment(zoom=2), 7, SHA, 0) == pytest.approx(was, rel=1e-6)


def test_lighting_changes_contrast_and_brightness_and_keeps_values_in_range(image):
    pictures = [changed(Augment(lighting=0.5), image, view) for view in range(50)]
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in pictures)
    means = [float(picture.mean()) for picture in pictures]
    assert max(means) - min(means) > 0.2


def test_the_same_seed_image_and_view_give_the_same_picture_whatever_came_before(image):
    augment = Augment(rotate=20, zoom=1.5, lighting=0.3, flip_horizontal=True)
    first = changed(augment, image, 3)
    torch.rand(7), np.random.rand(7)
    assert torch.equal(changed(augment, image, 3), first)
    assert not torch.allclose(changed(augment, image, 4), first)
    assert not torch.allclose(changed(augment, image, 3, seed=2), first)
    assert not torch.allclose(changed(augment, image, 3, sha256="cd" * 32), first)


def test_a_batch_is_changed_image_by_image(image):
    augment = Augment(rotate=20, lighting=0.3)
    draws = torch.from_numpy(np.stack([draw(augment, 1, SHA, view) for view in range(3)]))
    together = apply(image.repeat(3, 1, 1, 1), draws)
    assert torch.allclose(together, torch.cat([changed(augment, image, view) for view in range(3)]), atol=1e-6)
