"""What solving and interpolating found is told in words, with intervals, by plain arithmetic."""

import pytest

from learner.evaluation.findings import (
    checked_rows,
    findings,
    interpolated_text,
    search_summary,
    solved_text,
    strength_text,
    trial_rows,
)
from learner.recipe import Phase
from learner.store import Run

SOLVED = {
    "strength": 0.1,
    "checked": [
        {"strength": 1.0, "log_loss": 0.6, "accuracy": 0.7, "images": 100, "log_loss_error": 0.05},
        {"strength": 0.1, "log_loss": 0.5, "accuracy": 0.8, "images": 100, "log_loss_error": 0.1},
    ],
}
POINTS = [(0.0, 0.50, 0.80), (0.5, 0.45, 0.82), (1.0, 0.62, 0.76)]


def between(point: float, gain=0.05, gain_interval=(0.01, 0.09), accuracy=0.02, moved=(-0.01, 0.05)) -> dict:
    tried = [dict(zip(("point", "loss", "accuracy"), row, strict=True)) for row in POINTS]
    return {
        "point": point,
        "tried": tried,
        "images": 200,
        "gain": gain,
        "gain_interval": None if gain_interval is None else list(gain_interval),
        "accuracy_gain": accuracy,
        "accuracy_gain_interval": list(moved),
    }


def test_the_strength_that_was_taken_is_told_with_what_it_reached():
    # Wilson, 80 of 100; 0.5 ± 1.96 × 0.1
    assert solved_text(SOLVED) == (
        "Strength of regularisation: 0.1, the best of 2 tried by cross-validation on 100 training images, with a log "
        "loss of 0.500 (0.304–0.696) and an accuracy of 80.0 % (71.1–86.7)."
    )


def test_where_nothing_could_be_tried_that_is_said():
    assert "0.1, the usual one, as there were too few images" in solved_text({"strength": 0.1, "checked": []})


def test_strengths_go_from_weak_to_strong_and_a_loss_is_never_below_0():
    rows = checked_rows(SOLVED | {"checked": [SOLVED["checked"][0] | {"log_loss": 0.05}, SOLVED["checked"][1]]})
    assert [(row["strength"], row["taken"]) for row in rows] == [(0.1, True), (1.0, False)]
    assert rows[1]["log_loss_low"] == 0 and rows[1]["log_loss_high"] == pytest.approx(0.05 + 1.96 * 0.05, abs=1e-3)


@pytest.mark.parametrize(("strength", "text"), [(10**0.5, "3.2"), (1.0, "1"), (0.1, "0.1"), (10**-4.5, "0.000032")])
def test_a_strength_is_written_as_a_person_would(strength, text):
    assert strength_text(strength) == text


def test_a_point_between_is_told_with_what_it_brought():
    assert interpolated_text(between(0.5)) == (
        "The point 50 % of the way to its end was taken. Against its start that changed the log loss by −0.050 (−0.090 "
        "to −0.010) and the accuracy by +2.0 points (−1.0 to +5.0), on 200 validation images. The fall of the loss is "
        "hardly chance."
    )


def test_a_gain_that_may_be_chance_is_called_so():
    text = interpolated_text(between(1, gain_interval=(-0.02, 0.12)))
    assert text.startswith("Its end was taken.") and "(−0.120 to +0.020)" in text
    assert text.endswith("The fall of the loss may be chance.")


def test_a_start_that_was_taken_means_that_the_phase_brought_nothing():
    assert interpolated_text(between(0.0, 0, (0, 0), 0, (0, 0))) == (
        "It brought nothing sure: at none of 3 points on the way to its end was the log loss on 200 validation images "
        "lower than the start's by more than its standard error, so the start was taken. At its end the loss was 0.120 "
        "higher, and the accuracy 76.0 % instead of 80.0 %."
    )
    lost = between(0.0)
    lost["tried"][-1]["loss"] = None
    assert "At its end the loss was no number" in interpolated_text(lost)


def test_what_an_older_thaw_kept_of_one_image_or_of_no_change_is_readable():
    text = interpolated_text(between(0.5, gain_interval=None, accuracy=0.0, moved=(0.0, 0.0)))
    assert "by −0.050 and the accuracy not at all" in text and "may be chance" in text


def test_every_phase_that_found_something_is_told():
    phases = [Phase("Solve", solve=True), Phase("All", trainable="all", epochs=2), Phase("More", trainable="all")]
    facts = {"solved": {"0": SOLVED}, "interpolated": {"1": between(0.5)}}
    told = findings(Run(facts=facts), phases)
    assert [index for index, _ in told] == [0, 1] and "was taken" in told[1][1]
    assert findings(Run(facts={}), phases) == []


FEATURES = {"number": 1, "kind": "features", "what": "VGG16, 96 px, average", "log_loss": 0.5, "images": 1200}
FEATURES |= {"log_loss_interval": [0.4, 0.6], "accuracy": 0.8, "accuracy_interval": [0.75, 0.85], "seconds": 61.0}
THAWING = {"number": 2, "kind": "thawing", "what": "block5 and all above, 1e-05", "gain": 0.05, "images": 40}
THAWING |= {
    "gain_interval": [-0.01, 0.11],
    "accuracy_gain": 0.025,
    "accuracy_gain_interval": [-0.05, 0.1],
    "seconds": 2.0,
}


def test_a_trial_is_told_with_its_intervals_and_what_became_of_it():
    left_out = {"number": 3, "kind": "features", "what": "VGG16, 320 px", "state": "left out", "note": "No time."}
    done = {"state": "done", "note": ""}
    rows = trial_rows({"search": {"trials": [FEATURES | done, THAWING | done, left_out]}})
    assert [list(row.values()) for row in rows] == [
        ["1", FEATURES["what"], "0.500 (0.400–0.600)", "80.0 % (75.0–85.0)", "1,200", "1 min 1 s", "done"],
        ["2", THAWING["what"], "−0.050 (−0.110 to +0.010)", "+2.5 points (−5.0 to +10.0)", "40", "2 s", "done"],
        ["3", "VGG16, 320 px", "–", "–", "–", "–", "left out. No time."],
    ]
    assert trial_rows({}) == [] and search_summary({}) == ""
    facts = {"search": {"trials": [FEATURES], "spent_s": 61.0, "budget_s": 600}}
    assert search_summary(facts) == "Thaw chose the recipe: 1 trial in 1 min 1 s of 10 min."
