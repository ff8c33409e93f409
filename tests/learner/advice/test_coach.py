"""The coach speaks when a curve shows something, with a recipe that answers it, and is quiet otherwise."""

from dataclasses import replace

import pytest

from learner.advice.coach import advise, has_batch_norm, lost_phase, recalls_of, with_more_epochs
from learner.errors import RecipeError
from learner.recipe import Augment, Head, Phase, Recipe
from learner.store import Epoch

TWO = Recipe(
    "pets",
    phases=[Phase("Warm-up", epochs=3, lr=0.002), Phase("Fine-tuning", trainable="block5", epochs=5, lr=[1e-5, 1e-3])],
)
FLAT = replace(TWO, phases=[TWO.phases[0], replace(TWO.phases[1], schedule="constant")])
HEAD_ONLY = Recipe("pets", phases=[Phase("Warm-up", epochs=6, lr=0.002)])

# Curves: one row an epoch: phase, training loss, validation loss, accuracy.

WELL = [
    (0, 0.95, 0.62, 0.810),
    (0, 0.60, 0.50, 0.850),
    (0, 0.52, 0.47, 0.862),
    (1, 0.47, 0.44, 0.871),
    (1, 0.41, 0.40, 0.884),
    (1, 0.37, 0.39, 0.890),
    (1, 0.35, 0.385, 0.893),
    (1, 0.34, 0.384, 0.893),
]
OVERFITTING = [
    *WELL[:4],
    (1, 0.33, 0.41, 0.880),
    (1, 0.21, 0.43, 0.882),
    (1, 0.12, 0.47, 0.879),
    (1, 0.07, 0.55, 0.876),
]
OVERWRITTEN = [
    *WELL[:3],
    (1, 1.40, 1.10, 0.640),
    (1, 1.05, 0.90, 0.702),
    (1, 0.95, 0.85, 0.721),
    (1, 0.90, 0.81, 0.738),
]
SHAKEN = [*WELL[:3], (1, 0.70, 0.63, 0.815), (1, 0.45, 0.43, 0.868), (1, 0.38, 0.40, 0.884)]
STUCK = [(0, 1.612, 1.610, 0.21), (0, 1.610, 1.609, 0.22), (0, 1.609, 1.608, 0.21), (0, 1.608, 1.607, 0.22)]
PLATEAU = [(0, 0.90, 0.70, 0.75), (0, 0.62, 0.60, 0.78), (0, 0.61, 0.60, 0.78), (0, 0.60, 0.60, 0.78)]
COLD = [(0, 1.60, 1.40, 0.45), (0, 1.10, 1.00, 0.62), (0, 0.80, 0.70, 0.72)]
COLD += [(1, 1.20, 1.00, 0.61), (1, 0.99, 0.92, 0.64), (1, 0.88, 0.88, 0.66), (1, 0.80, 0.85, 0.68)]
SHORT_WARM_UP = [(0, 1.60, 1.10, 0.60), (0, 0.90, 0.70, 0.72), (1, 0.80, 0.61, 0.76), (1, 0.60, 0.50, 0.80)]
JUMPED = [  # once, with frozen batch-norm; it has fallen ever since
    *WELL[:3],
    (1, 0.69, 0.49, 0.860),
    (1, 0.48, 1.42, 0.860),
    (1, 0.38, 1.28, 0.862),
    (1, 0.32, 1.16, 0.861),
]
CLIMBING = [(0, 1.2, 1.1, 0.60), (0, 0.98, 0.96, 0.66), (0, 0.90, 0.88, 0.70), (0, 0.82, 0.80, 0.74)]


def curve(rows, samples=None) -> list[Epoch]:
    return [
        Epoch(
            epoch=number,
            phase=phase,
            train_loss=train,
            valid_loss=valid,
            accuracy=accuracy,
            error_rate=1 - accuracy,
            lrs=[],
            seconds=1.0,
            samples=samples or [],
        )
        for number, (phase, train, valid, accuracy) in enumerate(rows, start=1)
    ]


def kinds(recipe, rows, **more) -> list[str]:
    return [advice.kind for advice in advise(recipe, curve(rows), batch_norm=False, **more)]


@pytest.mark.parametrize(
    ("recipe", "rows", "ended", "said"),
    [
        (TWO, [], False, []),
        (TWO, WELL, True, []),
        (TWO, OVERFITTING, True, ["overfitting"]),
        (TWO, OVERWRITTEN, False, ["rate_too_high"]),
        (TWO, SHAKEN, False, []),  # it came back
        (HEAD_ONLY, STUCK, False, ["rate_too_low"]),
        (HEAD_ONLY, PLATEAU, True, []),  # it has learnt, and now it is done
        (TWO, JUMPED, False, []),
        (TWO, COLD, False, ["rate_too_high", "cold_head"]),
        (TWO, SHORT_WARM_UP, False, []),  # it was still learning fast, and went on doing so
        (HEAD_ONLY, CLIMBING, True, ["unfinished"]),
        (HEAD_ONLY, CLIMBING, False, []),  # its plan goes on
    ],
)
def test_each_curve_means_what_a_person_would_say(recipe, rows, ended, said):
    assert kinds(recipe, rows, ended=ended) == said


@pytest.mark.parametrize(
    ("recipe", "rows", "enough", "ended"),
    [
        (TWO, OVERFITTING, 8, False),
        (TWO, OVERWRITTEN, 7, False),  # two thirds of one cycle
        (TWO, OVERWRITTEN, 5, True),
        (FLAT, OVERWRITTEN, 5, False),
        (HEAD_ONLY, STUCK, 3, False),
        (HEAD_ONLY, CLIMBING, 2, True),
    ],
)
def test_a_rule_speaks_once_it_has_seen_enough_epochs_and_not_before(recipe, rows, enough, ended):
    assert kinds(recipe, rows[: enough - 1], ended=ended) == []
    assert len(kinds(recipe, rows[:enough], ended=ended)) == 1


def test_a_model_that_is_right_nearly_always_gets_no_advice():
    perfect = [(phase, train, valid, 0.997) for phase, train, valid, _ in OVERFITTING]
    assert kinds(TWO, perfect, ended=True) == []


def test_a_rate_that_was_too_high_is_lowered_from_the_end_of_the_phase_before():
    [advice] = advise(TWO, curve(OVERWRITTEN), batch_norm=False)
    assert advice.text.startswith("When Fine-tuning began, the accuracy went from 86.2 % to 64.0 %")
    assert advice.recipe.phases == [TWO.phases[0], replace(TWO.phases[1], lr=[1e-6, 1e-4])]
    assert advice.parent == 0
    assert advice.button == "Try a tenth of the rates"


def test_automatic_rates_are_made_numbers_that_suit_the_backbone():
    automatic = replace(TWO, phases=[TWO.phases[0], replace(TWO.phases[1], lr="auto")])
    for batch_norm, rates in ((False, [1e-7, 1e-5]), (True, [1e-5, 2e-4])):
        [advice] = advise(automatic, curve(OVERWRITTEN), batch_norm)
        assert advice.recipe.phases[1].lr == rates


def test_rates_by_name_keep_their_names():
    named = replace(TWO, phases=[TWO.phases[0], replace(TWO.phases[1], lr={"block5": 3e-5, "head": 1e-3})])
    [advice] = advise(named, curve(OVERWRITTEN), batch_norm=False)
    assert advice.recipe.phases[1].lr == {"block5": 3e-6, "head": 1e-4}


def test_against_overfitting_photos_are_changed_and_where_they_are_weights_are_held():
    [first] = advise(TWO, curve(OVERFITTING), batch_norm=False)
    assert "Since epoch 5" in first.text and "the best epoch is kept" in first.text
    assert first.recipe.augment.changes_anything and not first.recipe.augment.flip_horizontal
    assert first.parent == 0
    [second] = advise(replace(TWO, augment=Augment(rotate=10)), curve(OVERFITTING), batch_norm=False)
    assert [phase.weight_decay for phase in second.recipe.phases] == [0.01, 0.05]


def test_a_validation_loss_that_wavers_about_its_lowest_is_no_overfitting():
    wavering = [*WELL[:4], (1, 0.33, 0.46, 0.88), (1, 0.25, 0.43, 0.88), (1, 0.20, 0.455, 0.88), (1, 0.18, 0.44, 0.88)]
    assert kinds(TWO, wavering) == []


def test_a_head_that_was_not_done_gets_longer_and_starts_from_nothing():
    _, advice = advise(TWO, curve(COLD), batch_norm=False)
    assert "fell by 30.0 % in its last epoch" in advice.text
    assert (advice.recipe.phases[0].epochs, advice.parent) == (6, None)


def test_a_run_that_was_still_improving_gets_more_epochs_from_its_end():
    [advice] = advise(HEAD_ONLY, curve(CLIMBING), batch_norm=False, ended=True)
    assert advice.button == "Add 2 epochs"
    assert (advice.recipe.phases[1].epochs, advice.parent) == (2, 0)


def test_classes_that_are_never_recognised_are_shown_more_often_then_weighed():
    recalls = {"cat": 0.9, "dog": 0.0, "owl": 0.0}
    [advice] = advise(TWO, curve(WELL), False, recalls, ended=True)
    assert "of dog, owl is recognised" in advice.text
    assert (advice.recipe.balance, advice.parent) == ("oversample", None)
    balanced = replace(TWO, balance="oversample", label_smoothing=0.1)
    [advice] = advise(balanced, curve(WELL), False, recalls, ended=True)
    assert (advice.recipe.loss, advice.recipe.label_smoothing) == ("focal", 0.0)
    assert advise(replace(TWO, balance="weights", loss="focal"), curve(WELL), False, recalls) == []


def test_one_answer_to_all_sample_photos_means_that_classes_are_ignored():
    one_answer = [[2, 0.5, 0.1]] * 8
    assert [advice.kind for advice in advise(TWO, curve(WELL, one_answer), False)] == ["classes_ignored"]
    assert advise(TWO, curve(WELL[:1], one_answer), False) == []
    assert advise(TWO, curve(WELL, one_answer[:7]), False) == []
    assert advise(TWO, curve(WELL, [*one_answer, [0, 0.5, 0.5]]), False) == []


def test_a_loss_that_is_no_number_is_all_there_is_to_say():
    lost = [*WELL[:3], (1, None, None, 0.5)]
    for advice in (advise(TWO, curve(lost), False), advise(TWO, curve(WELL[:3]), False, lost_in=1)):
        assert [each.kind for each in advice] == ["no_number"]
        assert advice[0].recipe.phases[1].lr == [1e-6, 1e-4]
        assert (advice[0].recipe.clip_norm, advice[0].parent) == (1.0, 0)
    assert advise(TWO, [], False, lost_in=0)[0].parent is None


def test_a_loss_is_lost_in_the_phase_after_those_that_were_done():
    assert lost_phase("The loss stopped being a number, as its rate is too high.", phases_done=1) == 1
    assert lost_phase("The disk is full.", phases_done=1) is None
    assert lost_phase("", phases_done=1) is None


def test_a_fall_that_a_few_photos_explain_is_no_spoilt_phase():
    rows = [(0, 0.5, 0.58, 0.8), (1, 0.2, 0.9, 0.733), (1, 0.2, 0.9, 0.767)]  # of 30 images, two fewer and then one
    for images, said in ((30, []), (3000, ["rate_too_high"])):
        assert kinds(TWO, rows, ended=True, valid_images=images) == said


def test_what_matters_most_comes_first_and_what_follows_from_it_is_not_said():
    rows = [(0, 1.60, 1.40, 0.45), (0, 1.10, 1.00, 0.62), (0, 0.80, 0.70, 0.72)]
    rows += [(1, 1.9, 1.5, 0.30), (1, 1.90, 1.6, 0.31), (1, 1.90, 1.61, 0.31)]  # the head was not done either
    said = kinds(TWO, rows, recalls={"cat": 0.0}, ended=True)
    assert said == ["rate_too_high", "cold_head"]  # that it stands still and ignores a class follows from the first


def test_every_recipe_of_the_coach_passes_the_check():
    for rows, recipe in (
        (OVERFITTING, TWO),
        (OVERWRITTEN, TWO),
        (STUCK, HEAD_ONLY),
        (COLD, TWO),
        (CLIMBING, HEAD_ONLY),
    ):
        for advice in advise(recipe, curve(rows), False, {"cat": 0.0}, ended=True):
            advice.recipe.check()
            assert advice.recipe != recipe


def test_more_epochs_train_the_same_parts_at_a_tenth_of_the_rates():
    longer = with_more_epochs(TWO, 4, batch_norm=False)
    assert longer.phases[:2] == TWO.phases
    expected = Phase("More epochs", trainable="block5", epochs=4, lr=[1e-6, 1e-4], schedule="flat_cos")
    assert longer.phases[2] == expected
    solved = replace(TWO, head=Head("solved"), phases=[Phase("Solve the head", solve=True)])
    added = with_more_epochs(solved, 4, batch_norm=False).phases[-1]
    assert (added.solve, added.epochs) == (False, 4)  # by steps, from the solved head on
    again = with_more_epochs(longer, 2, batch_norm=False)
    assert again.phases[3] == replace(expected, name="More epochs 2", epochs=2)


def test_more_epochs_than_a_phase_can_have_are_refused():
    with pytest.raises(RecipeError, match=r"phases\.2\.epochs"):
        with_more_epochs(TWO, 0, batch_norm=False)


def test_batch_norm_is_read_from_the_layers_and_else_from_what_is_known_of_the_backbone():
    head_norm = {"stage": "head", "kind": "BatchNorm1d"}
    assert not has_batch_norm({"layers": [{"stage": "block1", "kind": "Conv2d"}, head_norm], "backbone": "resnet18"})
    assert has_batch_norm({"layers": [{"stage": "stem", "kind": "BatchNorm2d"}], "backbone": "vgg16"})
    assert not has_batch_norm({"backbone": "vgg16"})
    assert has_batch_norm({"backbone": "resnet18"}) and has_batch_norm({})


def test_a_class_with_too_few_images_is_not_judged():
    row = {"precision": 0.0, "f1": 0.0, "recall": 0.0}
    result = {"per_class": [row | {"class": "rare", "support": 2}, row | {"class": "dog", "support": 3}]}
    assert recalls_of(result) == {"dog": 0.0}
