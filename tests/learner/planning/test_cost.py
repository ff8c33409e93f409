"""What a run will cost, by hand arithmetic on a made-up machine."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from learner.datasets import add_dataset
from learner.errors import RecipeError
from learner.planning.cost import RunPlan, Workload, choose_speed, is_narrow, plan_run
from learner.planning.estimate import expected_plan, resolve_recipe
from learner.planning.speeds import Speed, forget_speeds, load_speeds, save_speeds
from learner.questions.process import ask
from learner.recipe import Augment, Phase, Recipe
from tests.samples import ROOT, SMALL, make_photos, small_recipe

STAGES = ["one", "two", "three"]
SPEED = Speed(
    arch="made-up",
    stages=STAGES,
    image_size=100,
    batch_size=10,
    device="CPU, 2 threads",
    precision="bf16",
    precision_reason="It has units.",
    forward=[0.010, 0.020, 0.030, 0.001],
    lowest=[0.020, 0.040, 0.060, 0.002],
    above=[0.030, 0.060, 0.090, 0.003],
    update=[0.1, 0.2, 0.3, 0.05],
    augment=0.004,
    batch=0.01,
    row_bytes=[3000, 2000, 1000, 500],
)
AMOUNTS = Workload(train=100, valid=20, decode_s=0.005, undecoded=120, room=10**9)
HEAD = Phase("Warm-up", "head", 10)
TOP = Phase("Fine-tuning", "three", 5)
ALL = Phase("Everything", "all", 1)


def plan(*phases: Phase, amounts: Workload = AMOUNTS, **settings) -> RunPlan:
    return plan_run(Recipe("pets", batch_size=10, phases=list(phases), **settings), SPEED, amounts)


def test_a_frozen_body_is_run_once_and_then_only_the_head():
    (phase,) = plan(HEAD).phases
    assert phase.cached and phase.cut == 3
    assert phase.features_s == pytest.approx(120 * 0.060)
    assert phase.train_s == pytest.approx(100 * 0.002 + 10 * (0.05 + 0.01))
    assert phase.valid_s == pytest.approx(20 * 0.001 + 2 * 0.01)
    assert phase.expected_s == pytest.approx(phase.features_s + 10 * (phase.train_s + phase.valid_s))
    assert phase.disk == 120 * 500


def test_without_the_cache_every_epoch_runs_everything():
    (phase,) = plan(HEAD, cache="off").phases
    assert not phase.cached and phase.reason == "The recipe turns the cache off."
    assert phase.train_s == pytest.approx(100 * (0.060 + 0.002) + 10 * (0.05 + 0.01))
    assert phase.valid_s == pytest.approx(20 * 0.061 + 2 * 0.01)
    assert phase.expected_s == phase.uncached_s == pytest.approx(10 * (phase.train_s + phase.valid_s))
    assert phase.disk == 0


def test_the_lowest_stage_that_learns_needs_no_gradient_of_its_input():
    (phase,) = plan(replace(TOP, trainable="two"), cache="off").phases
    train = 100 * (0.010 + 0.040 + 0.090 + 0.003) + 10 * (0.2 + 0.3 + 0.05 + 0.01)
    assert phase.train_s == pytest.approx(train)


def test_one_pass_serves_the_phases_that_start_lower_while_nothing_below_them_has_learnt():
    warm_up, fine_tuning = plan(HEAD, TOP).phases
    assert warm_up.also == [2]
    assert warm_up.disk == 120 * (500 + 1000)
    assert fine_tuning.cached and fine_tuning.features_s == 0 and fine_tuning.disk == 0
    assert plan(HEAD, ALL, TOP).phases[0].also == []
    assert plan(HEAD, ALL, TOP).phases[2].features_s > 0


def test_a_head_that_learns_again_after_its_stage_did_needs_new_features_from_where_the_stage_began():
    again = plan(HEAD, TOP, HEAD).phases[2]
    assert again.features_s == pytest.approx(120 * 0.030)


def test_where_everything_learns_there_is_nothing_to_keep():
    (phase,) = plan(ALL).phases
    assert not phase.cached and phase.cached_s is None
    assert "nothing constant to keep" in phase.reason
    assert plan(ALL, cache="on").phases[0].cached is False


def test_auto_takes_what_is_cheaper_and_says_so():
    augment = {"augment": Augment(rotate=10), "views": 8}
    once, often = (
        plan(replace(HEAD, epochs=1), **augment).phases[0],
        plan(replace(HEAD, epochs=20), **augment).phases[0],
    )
    assert not once.cached and once.cached_s > once.uncached_s
    assert "Computing them anew costs less" in once.reason
    assert often.cached and often.cached_s < often.uncached_s
    assert plan(replace(HEAD, epochs=1), cache="on", **augment).phases[0].cached


def test_every_view_of_a_training_image_is_run_and_stored():
    (phase,) = plan(replace(HEAD, epochs=50), augment=Augment(rotate=10), views=4).phases
    assert phase.features_s == pytest.approx((4 * 100 + 20) * 0.060 + 400 * 0.004)
    assert phase.disk == (4 * 100 + 20) * 500


def test_images_changed_anew_each_epoch_are_augmented_each_epoch():
    (phase,) = plan(HEAD, augment=Augment(rotate=10), views=0).phases
    assert not phase.cached and "views: 0" in phase.reason
    plain = plan(HEAD, cache="off").phases[0]
    assert phase.train_s == pytest.approx(plain.train_s + 100 * 0.004)


def test_what_an_earlier_run_left_costs_nothing():
    whole = plan(HEAD, TOP, amounts=replace(AMOUNTS, kept=frozenset({2, 3}), undecoded=0))
    assert whole.decode_s == 0 and whole.disk == 0
    assert [phase.features_s for phase in whole.phases] == [0, 0]
    partly = plan(HEAD, amounts=replace(AMOUNTS, kept=frozenset({2}))).phases[0]
    assert partly.features_s == pytest.approx(120 * 0.030)


def test_a_budget_without_room_means_no_cache_and_a_reason_with_both_sizes():
    images = 120 * 3000
    (phase,) = plan(HEAD, amounts=replace(AMOUNTS, room=images + 100 * 500)).phases
    assert not phase.cached
    assert "would take 0.0 GB, and the cache has room for 0.0 GB" in phase.reason
    assert phase.expected_s == phase.uncached_s
    first, second = plan(HEAD, TOP, amounts=replace(AMOUNTS, room=images + 130 * 500)).phases
    assert first.cached and first.also == [] and not second.cached


def test_images_that_cannot_be_kept_are_decoded_every_epoch():
    tight = plan(ALL, amounts=replace(AMOUNTS, room=0))
    roomy = plan(ALL)
    assert tight.decode_s == 0 and tight.decode_disk == 0
    assert roomy.decode_s == pytest.approx(120 * 0.005) and roomy.decode_disk == 120 * 3000
    assert tight.phases[0].train_s == pytest.approx(roomy.phases[0].train_s + 100 * 0.005)


def test_the_total_is_decoding_and_all_phases():
    whole = plan(HEAD, TOP, ALL)
    assert whole.expected_s == pytest.approx(0.6 + sum(phase.expected_s for phase in whole.phases))
    assert RunPlan.from_facts({"plan": whole.to_dict()}) == whole


# Precision


def slower(factor: float, **names) -> Speed:
    times = {key: [factor * value for value in getattr(SPEED, key)] for key in ("lowest", "above")}
    return replace(SPEED, **times, **names)


EVERYTHING = Recipe("pets", batch_size=10, phases=[ALL])


def test_another_precision_is_taken_where_it_is_clearly_done_first_with_both_times_as_the_reason():
    fp32 = slower(0.5, precision="fp32", precision_reason="Not all suits bf16.")
    chosen = choose_speed(EVERYTHING, [SPEED, fp32], AMOUNTS)
    assert chosen.precision == "fp32"
    assert chosen.precision_reason.startswith("Not all suits bf16. About ")
    assert chosen.precision_reason.endswith(" in bf16.")
    fp32 = slower(2, precision="fp32")
    assert choose_speed(EVERYTHING, [SPEED, fp32], AMOUNTS).precision == "bf16"
    assert choose_speed(Recipe("pets"), [SPEED], AMOUNTS) == SPEED


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.03])
def test_what_differs_by_no_more_than_noise_leaves_the_machine_its_own_precision(factor):
    fp32 = slower(factor, precision="fp32")
    chosen = choose_speed(EVERYTHING, [SPEED, fp32], AMOUNTS)
    assert chosen.precision == "bf16"
    assert not is_narrow(EVERYTHING, [SPEED], AMOUNTS)
    if factor <= 1:
        assert chosen.precision_reason.endswith("; fp32 would take about as long.")


def test_a_choice_is_narrow_where_a_measurement_that_is_a_little_wrong_would_turn_it_round():
    narrow = [is_narrow(EVERYTHING, [SPEED, slower(factor, precision="fp32")], AMOUNTS) for factor in (0.5, 0.8, 3)]
    assert narrow == [False, True, False]


def test_of_two_measurements_the_shorter_times_count():
    quiet, busy = replace(SPEED, update=[9.0] * 4), replace(slower(3), augment=1.0)
    assert quiet.or_faster(busy) == SPEED == busy.or_faster(quiet)


@pytest.mark.parametrize("cache", ["on", "off", "auto"])
def test_the_cache_does_not_decide_the_precision(cache):
    """The precision changes the numbers, so with and without the cache it has to be the same."""
    fp32 = replace(slower(0.4, precision="fp32"), forward=[10 * value for value in SPEED.forward])
    recipe = Recipe("pets", batch_size=10, phases=[HEAD, ALL], cache=cache)
    choices = {
        choose_speed(recipe, [SPEED, fp32], replace(AMOUNTS, room=room, kept=kept)).precision
        for room in (0, 10**9)
        for kept in (frozenset(), frozenset({3}))
    }
    assert len(choices) == 1


# Measurements


def test_a_measurement_is_kept_for_what_it_was_made_of(workspace):
    recipe = Recipe("pets", backbone="vgg16", image_size=224)
    assert load_speeds(workspace, recipe) == []
    save_speeds(workspace, recipe, [SPEED])
    assert load_speeds(workspace, recipe) == [SPEED]
    for other in ({"backbone": "resnet18"}, {"image_size": 128}, {"batch_size": 8}, {"precision": "fp32"}):
        assert load_speeds(workspace, replace(recipe, **other)) == []
    workspace.speeds.write_text("{half")
    assert load_speeds(workspace, recipe) == []
    save_speeds(workspace, recipe, [SPEED])
    assert load_speeds(workspace, recipe) == [SPEED]


def test_a_measurement_that_foretold_wrongly_is_made_again(workspace):
    recipe = Recipe("pets", backbone="vgg16", image_size=224)
    others = [replace(recipe, backbone="resnet18"), replace(recipe, batch_size=160)]
    for one in [recipe, replace(recipe, precision="fp32"), *others]:
        save_speeds(workspace, one, [SPEED])
    forget_speeds(workspace, replace(recipe, precision="bf16"))
    assert load_speeds(workspace, recipe) == load_speeds(workspace, replace(recipe, precision="fp32")) == []
    assert all(load_speeds(workspace, other) == [SPEED] for other in others)


@pytest.mark.parametrize(("share", "right"), [(1.2, True), (0.8, True), (1.3, False), (0.5, False)])
def test_a_plan_was_right_within_a_quarter_of_what_has_run(share, right):
    whole = plan(HEAD, ALL)
    whole.phases[0].true_s = share * whole.phases[0].expected_s
    assert whole.was_accurate is right
    assert plan(HEAD).was_accurate  # nothing has run


def test_what_a_recipe_leaves_open_is_settled_as_a_run_would(store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "a", {"cat": 6, "dog": 6}, size=(40, 30)), "tiny")
    settled = resolve_recipe(store, Recipe("tiny", backbone=SMALL, weights="random"))
    assert (settled.version, settled.backbone, settled.image_size) == (1, SMALL, 96)


def test_another_process_measures_this_machine_and_the_plan_follows(pets):
    pets.workspace.speeds.unlink()
    recipe = resolve_recipe(pets, small_recipe())
    assert expected_plan(pets, recipe) is None
    assert ask(pets, "speed", pets.workspace.speeds, recipe).wait(120) == 0
    expected = expected_plan(pets, recipe)
    assert expected.expected_s > 0 and math.isfinite(expected.expected_s)
    assert expected.decode_disk == 40 * 32 * 32 * 3
    for speed in load_speeds(pets.workspace, recipe):
        assert speed.stages == ["stem", "layer1", "layer2", "layer3", "layer4"]
        for seconds in (speed.forward, speed.lowest, speed.above, speed.update):
            assert len(seconds) == 6 and all(value > 0 for value in seconds[-1:])
    with pytest.raises(RecipeError, match="'block5' is not a part"):
        expected_plan(pets, replace(recipe, phases=[Phase("a", "block5")]))


def test_expecting_needs_no_torch():
    code = "import sys, learner.planning.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
