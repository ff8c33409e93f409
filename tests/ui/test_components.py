"""What pages draw: the frost strip says in words what it shows, and names from outside cannot become markup."""

import re
import xml.etree.ElementTree as ET

import pytest

from learner.wording import rate_text
from ui.components import AMBER, ICE, NEUTRAL, frost_strip, trail, verdict


def drawing(html: str) -> ET.Element:
    return ET.fromstring(re.search(r"<svg.*</svg>", html, re.DOTALL).group())


def fills(html: str) -> list[str]:
    return [rect.get("fill") for rect in drawing(html).iter("rect")]


def test_frozen_blocks_are_ice_and_learning_ones_amber_with_their_rate():
    html = frost_strip(["block1", "block2"], [0.0, 1e-5, 0.002])
    assert fills(html) == [ICE, AMBER, AMBER]
    assert [text.text for text in drawing(html).iter("text")] == ["block1", "frozen", "block2", "1e-5", "head", "0.002"]


def test_a_head_that_is_solved_has_no_rate():
    html = frost_strip(["block1"], [0.0, 0.002], solved=True)
    assert [text.text for text in drawing(html).iter("text")] == ["block1", "frozen", "head", "solved"]


def test_blocks_that_have_learnt_are_neutral():
    assert fills(frost_strip(["block1"], [0.0, 0.002], finished=True)) == [ICE, NEUTRAL]


def test_the_strip_says_in_words_what_it_shows():
    svg = drawing(frost_strip(["block1", "block2"], [0.0, 0.001, 0.002]))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "block2, head learns; block1 frozen"


def test_names_from_outside_cannot_become_markup():
    html = frost_strip(["<script>"], [0.0, 1.0])
    assert "<script>" not in html
    assert next(drawing(html).iter("text")).text == "<script>"


@pytest.mark.parametrize(
    ("rate", "said"), [(0.002, "0.002"), (1e-5, "1e-5"), (4.64e-5, "4.6e-5"), (0.001438, "0.00144"), (1.0, "1")]
)
def test_rates_are_short_enough_to_stand_under_a_block(rate, said):
    assert rate_text(rate) == said


def test_right_and_wrong_differ_in_shape_and_in_words():
    right, wrong = drawing(verdict(True)), drawing(verdict(False))
    assert (right.get("aria-label"), wrong.get("aria-label")) == ("right", "wrong")
    assert [part.tag for part in right] != [part.tag for part in wrong]


def test_a_trail_has_a_point_an_epoch_and_a_dot_at_the_shown_one():
    svg = drawing(trail([0.0, 0.5, 1.0], shown=1))
    points = [tuple(map(float, pair.split(","))) for pair in svg.find("polyline").get("points").split()]
    assert points == [(0, 23), (48, 12), (96, 1)]  # upwards as the probability rises
    dot = svg.find("circle")
    assert (float(dot.get("cx")), float(dot.get("cy"))) == points[1]
    assert svg.get("aria-label") == "Probability of its own class: 0.0 % at first, 50.0 % as shown"


def test_a_trail_of_one_epoch_is_a_flat_line():
    points = drawing(trail([0.5], shown=0)).find("polyline").get("points").split()
    assert [point.split(",")[1] for point in points] == ["12.0", "12.0"]
