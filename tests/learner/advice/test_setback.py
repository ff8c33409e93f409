"""A phase that did not help is said first, with numbers and what to try; one that lost by chance alone is not."""

from dataclasses import replace

import pytest

from learner.advice.coach import Advice, advise
from learner.recipe import Head, Phase, Recipe
from learner.store import Epoch

SOLVED = Recipe(
    "pets",
    head=Head("solved"),
    phases=[
        Phase("Solve the head", solve=True),
        Phase("Fine-tuning", trainable="block5", epochs=3, lr=[1e-5, 1e-3], interpolate=True),
    ],
)
WARMED = Recipe(
    "pets", phases=[Phase("Warm-up", epochs=2), Phase("Fine-tuning", trainable="block5", epochs=3, lr=[1e-5, 1e-3])]
)
GRADUAL = replace(WARMED, phases=[*WARMED.phases, Phase("All", trainable="all", epochs=2, lr=[1e-6, 1e-4])])
IMAGES = 200


def parts(loss: float, right: float, spread: float = 0.0) -> list[list[float]]:
    """Ten parts of 20 images; of every second one the loss is higher by `spread`, and of the others lower."""
    return [[20, 20 * (loss + (spread if part % 2 else -spread)), 20 * right] for part in range(10)]


def epoch(
    number: int, phase: int, loss: float | None, accuracy: float, kept: bool = True, spread: float = 0.0
) -> Epoch:
    """`kept` are the figures by parts, as Thaw now keeps them; their losses are spread in later phases."""
    own = parts(loss or 0.0, accuracy, spread if phase else 0.0) if kept else None
    return Epoch(
        epoch=number, phase=phase, train_loss=0.3, valid_loss=loss, accuracy=accuracy, lrs=[], samples=[], parts=own
    )


def curve(*rows: tuple[int, float | None, float], kept: bool = True, spread: float = 0.0) -> list[Epoch]:
    """Epochs of (phase, validation loss, accuracy)."""
    return [epoch(number, *row, kept, spread) for number, row in enumerate(rows, start=1)]


def said(recipe: Recipe, epochs: list[Epoch], ended: bool = True, **more) -> list[Advice]:
    return advise(recipe, epochs, batch_norm=False, ended=ended, valid_images=IMAGES, **more)


def tried(loss: float | None, accuracy: float, point: float = 0.0, kept: bool = True) -> dict:
    """What interpolation found between a start of loss 0.5 and accuracy 0.85 and that end."""
    rows = [{"point": 0.0, "loss": 0.5, "accuracy": 0.85}, {"point": 1.0, "loss": loss, "accuracy": accuracy}]
    if kept:
        rows = [row | {"parts": parts(row["loss"] or 0.0, row["accuracy"])} for row in rows]
    return {"1": {"point": point, "tried": rows, "images": IMAGES}}


LOST = [(0, 0.55, 0.84), (0, 0.50, 0.85), (1, 0.52, 0.84), (1, 0.56, 0.82), (1, 0.60, 0.80)]
BACK = [(0, 0.5, 0.85), (1, 0.6, 0.80), (1, 0.7, 0.79), (1, 0.5, 0.85)]


def test_a_phase_that_ends_worse_than_it_began_is_said_first_with_its_numbers():
    first, *_ = said(WARMED, curve(*LOST))
    assert first.kind == "setback"
    assert first.text.startswith(
        "Fine-tuning did not help: it ended with a validation loss of 0.600 instead of 0.500, and an accuracy of "
        "80.0 % instead of 85.0 %. The model from before it is kept. Try a tenth of its rates, or let fewer stages"
    )
    assert first.text.endswith("leave it out and keep what Warm-up gives.")
    assert first.recipe.phases == [WARMED.phases[0], replace(WARMED.phases[1], lr=[1e-6, 1e-4])]
    assert (first.button, first.parent) == ("Try a tenth of the rates", 0)


def test_a_phase_that_went_back_to_its_start_is_told_by_where_it_would_have_ended():
    first, *_ = said(SOLVED, curve(*BACK), interpolated=tried(0.7, 0.78))
    assert "by steps alone it would have ended with a validation loss of 0.700 instead of 0.500" in first.text
    assert "an accuracy of 78.0 % instead of 85.0 %" in first.text and "keep the solved head." in first.text
    assert "The model from before it is kept." in first.text


def test_an_end_that_is_no_number_is_a_setback_too():
    first, *_ = said(SOLVED, curve((0, 0.5, 0.85), (1, 0.5, 0.85)), interpolated=tried(None, 0.2))
    assert "a validation loss of no number instead of 0.500" in first.text


def test_it_comes_before_all_other_advice():
    kinds = [one.kind for one in said(WARMED, curve(*LOST), recalls={"cat": 0.0})]
    assert kinds == ["setback", "classes_ignored"]


@pytest.mark.parametrize("recipe", [WARMED, replace(WARMED, phases=[WARMED.phases[0], Phase("All", "all", 3)])])
@pytest.mark.parametrize("kept", [True, False])
def test_a_fall_of_several_points_is_said_whatever_the_recipe_and_in_old_runs(recipe, kept):
    # Each epoch is a little worse, so no beginning was bad; 0.08 are more than 1.96 √(0.85 × 0.15 / 200).
    rows = [(0, 0.50, 0.85), (1, 0.51, 0.835), (1, 0.55, 0.81), (1, 0.60, 0.77)]
    assert [one.kind for one in said(recipe, curve(*rows, kept=kept))] == ["setback"]


def test_a_lower_loss_with_an_accuracy_that_fell_by_points_is_said_with_what_is_kept():
    rows = [(0, 0.60, 0.85), (1, 0.52, 0.83), (1, 0.50, 0.82), (1, 0.52, 0.81)]
    [first] = said(WARMED, curve(*rows))
    assert "an accuracy of 81.0 % instead of 85.0 %. The model of epoch 3 is kept, with 82.0 %." in first.text


def test_a_higher_accuracy_beside_a_higher_loss_is_told_as_it_is():
    rows = [(0, 0.50, 0.85), (1, 0.53, 0.86), (1, 0.58, 0.86)]
    first, *_ = said(WARMED, curve(*rows))
    assert "0.580 instead of 0.500, though with an accuracy of 86.0 % instead of 85.0 %" in first.text


@pytest.mark.parametrize(
    ("epochs", "more"),
    [
        (curve((0, 0.50, 0.85), (1, 0.51, 0.845), (1, 0.52, 0.845), spread=0.05), {}),  # the parts do not agree
        (curve((0, 0.50, 0.85), (1, 0.55, 0.82), (1, 0.60, 0.82), kept=False), {}),  # 3 points of 200 images
        (curve((0, 0.50, 0.85), (1, 0.47, 0.86), (1, 0.49, 0.85), (1, 0.55, 0.85)), {}),  # its best epoch is kept
        (curve((0, 0.50, 0.85), (1, 0.60, 0.80)), {}),  # one epoch is no fair try
        (
            curve(*BACK[:-1], (1, 0.45, 0.87)),
            {"interpolated": tried(0.7, 0.78, point=0.4)},
        ),  # a point between is better
        (curve(*BACK), {"interpolated": tried(0.501, 0.85, kept=False)}),  # of an older Thaw, and by next to nothing
        (curve(*LOST), {"ended": False}),  # it may come back
        (curve((0, 0.50, 0.85), (0, 0.60, 0.70)), {}),  # there is no phase before
        ([], {}),
    ],
)
def test_what_may_be_chance_or_was_put_right_is_no_setback(epochs, more):
    assert "setback" not in [one.kind for one in said(WARMED, epochs, **more)]


def test_a_later_phase_that_makes_up_for_it_silences_it():
    lost = curve(*LOST, (2, 0.55, 0.83), (2, 0.52, 0.84))
    made_up = curve(*LOST, (2, 0.48, 0.86), (2, 0.45, 0.87))
    assert [one.kind for one in said(GRADUAL, lost)] == ["setback"]
    assert "setback" not in [one.kind for one in said(GRADUAL, made_up)]
    # While a later phase is under way, what an earlier one lost is known.
    assert [one.kind for one in said(GRADUAL, curve(*LOST, (2, 0.60, 0.80)), ended=False)] == ["setback"]


def test_rates_that_were_lowered_often_enough_are_not_lowered_again():
    gentle = replace(WARMED, phases=[WARMED.phases[0], replace(WARMED.phases[1], lr=[1e-7, 1e-5])])
    first, *_ = said(gentle, curve(*LOST))
    assert first.text.endswith("so leave it out and keep what Warm-up gives: that takes less time.")
    assert (first.recipe.phases, first.button, first.parent) == (WARMED.phases[:1], "Leave out Fine-tuning", None)


def test_a_solved_head_has_no_training_loss_and_the_coach_speaks_all_the_same():
    epochs = curve(*BACK)
    epochs[0].train_loss = None
    assert said(SOLVED, epochs[:1], ended=False) == []
    assert [one.kind for one in said(SOLVED, epochs, interpolated=tried(0.7, 0.78))] == ["setback"]


def test_every_recipe_of_it_passes_the_check():
    for recipe, epochs in ((WARMED, curve(*LOST)), (SOLVED, curve(*BACK[:-1]))):
        for one in said(recipe, epochs):
            one.recipe.check()
