"""Figures read as a person would say them."""

import pytest

from learner.wording import count, duration, file_size, percent, percent_with_interval, rate_of


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (130, "2 min 10 s"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (-1, "0 s"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_rates_with_their_interval():
    assert percent(0.934) == "93.4 %"
    assert percent_with_interval(0.934, [0.912, 0.951]) == "93.4 % (91.2–95.1)"


@pytest.mark.parametrize(("size", "said"), [(1, "1 kB"), (61_000_000, "61 MB"), (2_500_000_000, "2.5 GB")])
def test_file_sizes(size, said):
    assert file_size(size) == said


def test_counts_agree_with_their_noun():
    assert [count(1, "image"), count(1797, "image"), count(2, "class", "classes")] == [
        "1 image",
        "1,797 images",
        "2 classes",
    ]


@pytest.mark.parametrize(
    ("number", "said"),
    [(1780.4, "1,780"), (99.96, "100"), (54.32, "54.3"), (9.996, "10.0"), (0.824, "0.82"), (0, "0.00")],
)
def test_figures_a_second_have_three_digits_and_no_exponent(number, said):
    assert rate_of(number) == said
