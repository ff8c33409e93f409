"""What a run will cost, on the Train page; and what it did cost, on Runs and Results."""

from functools import partial

import pytest
import yaml

from learner.planning.cost import PhasePlan, RunPlan
from learner.recipe import Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from learner.store import Run, Store
from tests.machine import STAGES
from tests.pages.reading import press, words
from tests.samples import CLASSIC, TWO_PHASES

FAILED = "This machine could not be measured with these settings."


def edit_phases(app, rows: dict) -> None:
    app.session_state["phases"] = {"edited_rows": rows, "added_rows": [], "deleted_rows": []}
    app.run()


class TestMeasuring:
    def test_a_machine_that_was_not_measured_is_measured_at_once_and_training_need_not_wait(
        self, open_page, pets, measurements
    ):
        app = open_page("train")
        assert "Measuring this machine, about 15 s" in words(app)
        [settled] = measurements.asked
        assert (settled.backbone, settled.image_size, settled.version) == (FALLBACK_ARCH, 96, 1)
        assert not next(b for b in app.button if b.label == "Start training").disabled
        assert "in all" not in words(app)

    def test_two_tabs_and_a_reload_share_one_measurement(self, open_page, pets, measurements):
        first, second = open_page("train"), open_page("train")
        first.run()
        assert len(measurements.asked) == 1
        measurements.end()
        for app in (first, second):
            assert "in all" in words(app.run())
        assert len(measurements.asked) == 1

    def test_other_settings_wait_for_the_measurement_under_way_and_are_measured_next(
        self, open_page, pets, measurements
    ):
        app = open_page("train")
        app.number_input(key="batch_size").set_value(4).run()
        assert "This machine is measured once what is being measured or prepared now is done." in words(app)
        assert len(measurements.asked) == 1
        measurements.end()
        assert "Measuring this machine, about" in words(app.run())
        assert [settled.batch_size for settled in measurements.asked] == [16, 4]

    def test_a_measurement_that_failed_is_told_and_can_be_tried_again(self, open_page, pets, measurements):
        app = open_page("train")
        measurements.end(code=1)
        app.run()
        assert app.warning[0].value == f"{FAILED} The training can start without it: only the forecast is missing."
        app.run()
        assert len(measurements.asked) == 1  # it does not try for ever
        press(app, "Measure again")
        assert len(measurements.asked) == 2
        measurements.end()
        assert "in all" in words(app.run())
        assert FAILED not in words(app)

    def test_a_reason_that_a_person_can_put_right_is_told_as_it_is(self, open_page, pets, measurements):
        app = open_page("train")
        measurements.end()
        app.selectbox(key="precision").set_value("fp16").run()
        measurements.end(code=2, why="The recipe has 1 mistake: precision: fp16 needs a GPU. Use auto")
        assert app.run().warning[0].value == "The recipe has 1 mistake: precision: fp16 needs a GPU. Use auto"

    def test_a_measurement_that_leaves_nothing_is_not_repeated_for_ever(self, open_page, pets, measurements):
        app = open_page("train")
        measurements.end(keep=False)
        assert "ended, but left nothing behind" in words(app.run())
        assert len(measurements.asked) == 1

    def test_a_measurement_that_never_ends_is_ended(self, open_page, pets, measurements, monkeypatch):
        monkeypatch.setattr("ui.training.measuring.LIMIT_S", 0.0)
        app = open_page("train")
        assert "and was ended" in words(app.run())
        assert measurements.processes[0].poll() is not None

    def test_nothing_is_measured_while_a_run_trains(self, open_page, store, pets, measurements):
        run_id = store.submit(TWO_PHASES, running=True)
        app = open_page("train")
        assert "A run is training. This machine is measured once that has ended" in words(app)
        assert measurements.asked == []
        store.runs.end(run_id, "failed", "The disk is full.")
        assert "Measuring this machine, about" in words(app.run())


@pytest.fixture
def measured(open_page, pets, measurements, monkeypatch):
    """The Train page on a machine that was measured for it: 12 images to learn from, 4 to check on."""
    monkeypatch.setattr(
        "learner.planning.estimate.decode_s", lambda files, image_size: 0.01
    )  # so that figures are exact
    app = open_page("train")
    measurements.end()
    return app.run()


class TestPlan:
    @pytest.fixture
    def open_page(self, open_page):
        """The Train page has the classic recipe."""
        return partial(open_page, draft=CLASSIC)

    def test_every_phase_says_its_time_and_what_the_cache_does(self, measured):
        said = words(measured)
        # 16 images through 9 frozen stages at 10 ms; then 12 × 20 ms + 4 × 10 ms in each of 2 epochs
        assert "**Warm-up**, 2 epochs: about 2 s" in said
        assert "Frozen stages run once (about 1 s) and are kept (cache), instead of 3 s without. 2 MB of disk." in said
        # 3 epochs of 12 × (20 + 9 × 30) ms + 4 × 100 ms
        assert "**Fine-tuning**, 3 epochs: about 12 s" in said
        assert "Every stage learns, so there is nothing constant to keep." in said
        assert "About **14 s** in all, under 1 s of it for reading the images once. 3 MB of disk." in said
        assert "Computed in bf16: this processor has units for bf16 (AMX). Expected for CPU, 2 threads" in said

    def test_changed_phases_change_it_at_once_without_another_measurement(self, measured, measurements):
        edit_phases(measured, {1: {"epochs": 30}})
        assert "**Fine-tuning**, 30 epochs: about 1 min 56 s" in words(measured)
        assert len(measurements.asked) == 1

    def test_the_cache_can_be_turned_off_and_says_so(self, measured):
        measured.selectbox(key="cache").set_value("off").run()
        assert "The recipe turns the cache off." in words(measured)
        assert "**Warm-up**, 2 epochs: about 3 s" in words(measured)

    def test_a_plan_that_cannot_be_made_says_why_and_training_can_start(self, measured, monkeypatch):
        monkeypatch.setenv("THAW_CACHE_GB", "much")
        measured.number_input(key="batch_size").set_value(16)
        edit_phases(measured, {0: {"epochs": 7}})
        assert "That cannot be told. THAW_CACHE_GB is 'much'" in measured.warning[0].value
        assert not next(b for b in measured.button if b.label == "Start training").disabled


class TestMore:
    def test_every_setting_ends_up_in_the_recipe(self, measured):
        app = measured
        app.selectbox(key="precision").set_value("bf16")
        app.selectbox(key="cache").set_value("on")
        app.checkbox(key="flip_horizontal").check()
        app.checkbox(key="quarter_turns").check()
        app.number_input(key="rotate").set_value(15.0)
        app.number_input(key="zoom").set_value(1.2)
        app.number_input(key="lighting").set_value(30).run()
        app.number_input(key="views").set_value(2)
        recipe = Recipe.from_yaml(app.run().code[0].value)
        augment = recipe.augment
        assert (recipe.precision, recipe.cache, recipe.views) == ("bf16", "on", 2)
        assert (augment.flip_horizontal, augment.flip_vertical, augment.quarter_turns) == (True, False, True)
        assert (augment.rotate, augment.zoom, augment.lighting) == (15, 1.2, 0.3)
        changed = "bf16, cache on, mirror left and right, quarter turns, turns up to 15°, enlarged up to 1.2 times, "
        assert f"Set under *More*: {changed}light up to 30 %, 2 copies of an image." in words(app)

    def test_untouched_settings_are_the_recipes_own_and_take_no_room(self, measured):
        shown = yaml.safe_load(measured.code[0].value)
        assert Recipe.from_dict(shown) == Recipe("pets")
        assert "Set under" not in words(measured)
        assert measured.number_input(key="views").disabled  # there is nothing to make copies with

    def test_settings_are_still_there_after_a_look_at_another_page(self, measured):
        measured.checkbox(key="flip_vertical").check()
        for key, value in {"lighting": 25, "rotate": 10.0, "zoom": 1.3}.items():
            measured.number_input(key=key).set_value(value)
        measured.selectbox(key="precision").set_value("bf16")
        measured.selectbox(key="cache").set_value("off").run()
        measured.number_input(key="views").set_value(7).run()
        chosen = yaml.safe_load(measured.code[0].value)
        measured.switch_page("pages/data.py").run()
        measured.switch_page("pages/train.py").run()
        assert yaml.safe_load(measured.code[0].value) == chosen
        assert (chosen["augment"]["lighting"], chosen["cache"], chosen["views"]) == (0.25, "off", 7)

    def test_a_mistake_is_told_beside_its_field_and_start_is_off(self, measured):
        measured.checkbox(key="flip_vertical").check().run()
        measured.number_input(key="views").set_value(0)
        measured.selectbox(key="cache").set_value("on").run()
        more = next(expander for expander in measured.expander if expander.label.startswith("More"))
        beside = more.error[0].value
        assert beside.startswith("Changed copies of an image (views): With cache: on and augmentation")
        assert beside in measured.main.error[-1].value  # once more where the start button is
        assert next(b for b in measured.button if b.label == "Start training").disabled


def plan(ran: bool = True) -> RunPlan:
    """The plan of a run of two phases, before or after it ran."""
    phases = [
        PhasePlan("Warm-up", 9, True, "20 s instead of 58 min without.", 20.0, 3480.0, 12.0, 3.0, 1.0, 2_000_000),
        PhasePlan("Fine-tuning", 0, False, "Every stage learns.", None, 95.0, 0.0, 90.0, 5.0, 0),
    ]
    whole = RunPlan(4.0, 1_000_000, phases, "bf16", "This processor has units for bf16 (AMX).", "CPU, 2 threads")
    if ran:
        whole.true_decode_s, phases[0].true_s, phases[1].true_s = 3.0, 24.0, 101.0
    return whole


def running(store: Store, facts_plan: RunPlan | None) -> int:
    """A run that has started, with that plan; None as an earlier Thaw left it."""
    run_id = store.submit(TWO_PHASES, running=True)
    facts = {
        "backbone": FALLBACK_ARCH,
        "image_size": 96,
        "device": "CPU, 2 threads",
        "train_images": 13,
        "valid_images": 3,
        "weights": {"reason": "The bundled weights are used.", "tried": []},
        "stages": STAGES[FALLBACK_ARCH],
        "rates": [[0.0] * len(STAGES[FALLBACK_ARCH]) + [0.002]] * 2,
        "classes": ["cat", "dog"],
    }
    store.runs.add_facts(run_id, **facts, **({"plan": facts_plan.to_dict()} if facts_plan else {}))
    return run_id


class TestRuns:
    def test_its_facts_name_the_number_format_and_the_cache(self, open_page, store, pets):
        running(store, plan(ran=False))
        app = open_page("runs")
        assert "3 for validation · computed in bf16, frozen stages kept for Warm-up (cache) · " in words(app)
        assert not app.table

    def test_while_features_are_computed_no_epoch_is_counted(self, open_page, store, pets):
        run_id = running(store, plan(ran=False))
        message = "Warm-up: running every image through the frozen stages, once"
        here = {"phase": 0, "epoch": 0, "epochs": 0, "batch": 0, "batches": 0}
        store.runs.report(run_id, {"message": message, "done": 0.1, "seconds_left": 30, **here})
        app = open_page("runs")
        told = app.get("progress")[0].proto.text
        assert told.startswith(f"{message} · ") and told.endswith("30 s left")
        assert "head learns" in words(app)  # the strip of the phase stands there already
        assert "Stop this run" in words(app)  # there is nothing learnt to keep
        store.runs.report(run_id, {"message": "Warm-up: learning", **here, "epoch": 1, "epochs": 2, "batches": 4})
        assert app.run().get("progress")[0].proto.text.startswith("Warm-up: learning · ")
        assert "epoch 1 of 2 · batch 0 of 4" in words(app)

    def test_once_a_phase_has_ended_what_was_expected_stands_beside_what_came_true(self, open_page, store, pets):
        half = plan()
        half.phases[1].true_s = None
        running(store, half)
        app = open_page("runs")
        assert app.table[0].value.values.tolist() == [
            ["Reading the images, once", "4 s", "3 s", ""],
            ["Warm-up", "20 s", "24 s", "on"],
            ["Fine-tuning", "1 min 35 s", "–", "off"],
        ]
        assert "instead of 58 min without" in words(app) and "**Fine-tuning**: Every stage learns." in words(app)

    def test_a_run_that_ended_adds_it_up_and_says_what_the_whole_run_took(self, open_page, store, pets):
        store.runs.end(running(store, plan()), "finished")
        app = open_page("runs")
        assert app.table[0].value.values.tolist()[-1] == ["Together", "1 min 59 s", "2 min 8 s", ""]
        assert "The whole run, with loading and the last check, took" in words(app)

    def test_a_run_that_was_stopped_says_that_its_last_time_is_of_a_part(self, open_page, store, pets):
        store.runs.end(running(store, plan()), "stopped")
        app = open_page("runs")
        assert app.table[0].value.values.tolist()[-1][0] == "Fine-tuning"
        assert "its last phase is a part of what was planned" in words(app)

    @pytest.mark.parametrize("status", ["running", "finished"])
    def test_a_run_of_an_earlier_thaw_has_no_plan_and_is_shown_all_the_same(self, open_page, store, pets, status):
        run_id = running(store, None)
        if status == "finished":
            store.runs.end(run_id, status)
        app = open_page("runs")
        assert "13 training images, 3 for validation · The bundled weights are used." in words(app)
        assert not app.table and not app.exception and not app.error

    def test_a_run_that_really_trained_has_true_times(self, open_page, trained):
        rows = open_page("runs").table[0].value.values.tolist()
        assert [row[0] for row in rows] == ["Reading the images, once", "Warm-up", "Fine-tuning", "Together"]
        assert all(row[2] != "–" for row in rows)


class TestResults:
    def test_what_was_trained_names_number_format_cache_and_time(self, open_page, trained):
        run = trained.runs.all()[0]
        precision = run.facts["plan"]["precision"]
        assert f"Computed in {precision}, " in words(open_page("results"))
        assert "(cache). Took " in words(open_page("results"))

    def test_a_run_of_an_earlier_thaw_is_shown_without(self, open_page, trained):
        with trained.runs.session() as session, session.begin():
            run = session.get(Run, 1)
            facts = run.facts
            run.facts = {key: value for key, value in facts.items() if key != "plan"}
        try:
            app = open_page("results")
            assert "What was trained" in words(app) and "Took " in words(app) and "Computed in" not in words(app)
            assert not app.error
        finally:
            with trained.runs.session() as session, session.begin():
                session.get(Run, 1).facts = facts
