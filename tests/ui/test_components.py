"""What pages draw: the frost strip says in words what it shows, and names from outside cannot become markup."""

import re
import xml.etree.ElementTree as ET

import pytest

from ui.components import AMBER, ICE, NEUTRAL, frost_strip, rate_text


def drawing(html: str) -> ET.Element:
    return ET.fromstring(re.search(r"<svg.*</svg>", html, re.DOTALL).group())


def fills(html: str) -> list[str]:
    return [rect.get("fill") for rect in drawing(html).iter("rect")]


def test_frozen_blocks_are_ice_and_learning_ones_amber_with_their_rate():
    html = frost_strip(["block1", "block2"], [0.0, 1e-5, 0.002])
    assert fills(html) == [ICE, AMBER, AMBER]
    assert [text.text for text in drawing(html).iter("text")] == ["block1", "frozen", "block2", "1e-5", "head", "0.002"]


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
