"""The Runs page: every status with what can be done about it, the run live, the coach, photos, comparing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from learner.recipe import Phase, Recipe
from learner.store import Store
from tests.pages.reading import button, press, unfold, words
from tests.samples import TWO_PHASES, small_recipe

LONG = small_recipe(
    phases=[Phase("Warm-up", epochs=3, lr=0.01), Phase("Fine-tuning", trainable="all", epochs=3, lr=[1e-5, 1e-3])]
)
STAGES = ["stem", "layer1", "layer2", "layer3", "layer4"]
FACTS = {
    "backbone": "test_resnet", "image_size": 32, "device": "CPU, 2 threads", "train_images": 120, "valid_images": 40,
    "stages": STAGES, "classes": ["cat", "dog"], "rates": [[0.0] * 5 + [0.01], [1e-5] * 5 + [1e-3]],
    "weights": {"reason": "Random weights were asked for.", "tried": []},
}  # fmt: skip
PROGRESS = {
    "message": "Fine-tuning: learning", "done": 0.625, "seconds_left": 250, "phase": 1, "epoch": 2, "epochs": 3,
    "batch": 12, "batches": 90, "phase_done": 0.25, "phase_seconds_left": 160, "images_per_s": 14.24, "cpu": 93.4,
    "memory": 2_140_000_000, "memory_total": 8_300_000_000, "gpu_memory": None,
}  # fmt: skip


def begin(store: Store, recipe: Recipe = LONG, **facts) -> int:
    run_id = store.submit(recipe, running=True)
    store.runs.add_facts(run_id, **FACTS | facts)
    return run_id


def learn(store: Store, run_id: int, *rows: tuple[int, float, float, float], samples: Sequence = ()) -> None:
    """Epochs of (phase, training loss, validation loss, accuracy), a step each, and the answers to sample photos."""
    best = 0.0
    for number, (phase, train_loss, valid_loss, accuracy) in enumerate(rows, start=1):
        store.runs.add_step(
            run_id, at=number - 0.5, train_loss=train_loss, lrs=[0.0] * 5 + [0.01], grad_norm=1.0, images_per_s=50.0
        )
        store.runs.add_epoch(
            run_id,
            accuracy > best,
            epoch=number,
            phase=phase,
            train_loss=train_loss,
            valid_loss=valid_loss,
            accuracy=accuracy,
            error_rate=1 - accuracy,
            lrs=[],
            seconds=10.0,
            samples=samples[number - 1] if samples else [],
        )
        best = max(best, accuracy)


WELL = [(0, 0.9, 0.5, 0.8), (0, 0.6, 0.47, 0.85), (0, 0.5, 0.46, 0.86), (1, 0.4, 0.4, 0.9), (1, 0.35, 0.395, 0.9)]
OVERWRITTEN = [*WELL[:3], (1, 1.4, 1.1, 0.6), (1, 1.0, 0.9, 0.7)]


def finished(store: Store, rows=WELL, recipe: Recipe = LONG) -> int:
    run_id = begin(store, recipe)
    learn(store, run_id, *rows)
    store.runs.end(run_id, "finished")
    return run_id


def keep(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a model")


def labels(app) -> list[str]:
    return [each.label for each in app.button]


# The list and the queue


def test_the_list_shows_status_place_curve_and_what_thawing_gained(open_page, store, pets):
    finished(store)
    store.submit(TWO_PHASES)
    store.submit(TWO_PHASES)
    table = open_page("runs").dataframe[0].value
    assert table["Run"].tolist() == [3, 2, 1]
    assert table["Status"].tolist() == ["Waiting, 2nd", "Waiting, 1st", "Finished"]
    assert [list(curve) for curve in table["Accuracy by epoch"]] == [[], [], [0.8, 0.85, 0.86, 0.9, 0.9]]
    assert table["Thawing gained"].iloc[2] == pytest.approx(4.0)
    assert table["Best accuracy"].tolist() == ["–", "–", "90.0 %"]


def test_waiting_runs_are_moved_and_taken_out_by_buttons(open_page, store, pets):
    first, second = store.submit(TWO_PHASES), store.submit(TWO_PHASES)
    app = open_page("runs")
    assert [app.button(key=f"{way}-{run}").disabled for run in (first, second) for way in ("Earlier", "Later")] == [
        True, False, False, True,
    ]  # fmt: skip
    app.button(key=f"Earlier-{second}").click().run()
    assert [run.id for run in store.queue.waiting()] == [second, first]
    app.button(key=f"cancel-{first}").click().run()
    assert store.runs.get(first).status == "stopped"
    assert [run.id for run in store.queue.waiting()] == [second]


def test_what_two_tabs_ask_of_the_same_queue_is_done_once(open_page, store, pets):
    first, second, third = (store.submit(TWO_PHASES) for _ in range(3))
    app = open_page("runs")
    store.queue.move(third, -1)  # in the other tab
    app.button(key=f"Earlier-{third}").click().run()
    assert [run.id for run in store.queue.waiting()] == [first, third, second]


def test_a_deleted_run_is_had_back_by_undo_which_stays_until_something_else_is_done(open_page, store, pets):
    first, second = finished(store), finished(store)
    app = press(open_page("runs"), "Delete run")
    assert f"Deleted run {second}." in words(app)
    assert f"Run {first}: finished" in words(app)
    app.run()
    assert f"Deleted run {second}." in words(app)
    press(app, "Undo")
    assert [run.id for run in store.runs.all()] == [second, first]
    assert f"Run {second}: finished" in words(app)
    assert "Deleted run" not in words(app)


def test_a_run_deleted_long_ago_is_brought_back_from_the_fold(open_page, store, pets):
    first, second = finished(store), finished(store)
    store.runs.delete(first)
    app = open_page("runs")
    assert [fold.label for fold in app.expander if "deleted" in fold.label] == ["1 deleted run"]
    press(app, "Bring back")
    assert [run.id for run in store.runs.all()] == [second, first]


def test_the_last_run_can_be_deleted_and_had_back_from_the_empty_page(open_page, store, pets):
    finished(store)
    app = press(open_page("runs"), "Delete run")
    assert "No runs yet" in words(app)
    assert "Run 1: finished" in words(press(app, "Undo"))


# Live


def test_a_running_run_shows_both_bars_the_strip_and_what_it_takes_of_the_machine(open_page, store, pets):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = open_page("runs")
    whole, phase = (bar.proto for bar in app.get("progress"))
    assert (whole.value, whole.text) == (62, "Fine-tuning: learning · 62 % of the whole run, 4 min 10 s left")
    assert (phase.value, phase.text) == (
        25, "Fine-tuning: phase 2 of 2 · epoch 2 of 3 · batch 12 of 90, 2 min 40 s left",
    )  # fmt: skip
    assert "14.2 images a second · 93 % of the processor · 2.1 GB of 8.3 GB of memory" in words(app)
    assert "stem, layer1, layer2, layer3, layer4, head learns; none frozen" in words(app)


def test_a_run_that_says_little_is_shown_all_the_same(open_page, store, pets):
    run_id = store.submit(LONG, running=True)
    app = open_page("runs")
    assert "Starting the training process" in app.get("progress")[0].proto.text
    old = {"message": "Fine-tuning: learning", "phase": 1, "epoch": 1, "epochs": 3, "batch": 1, "batches": 9}
    store.runs.add_facts(run_id, **FACTS | {"rates": FACTS["rates"][:1]})
    store.runs.report(run_id, old)
    learn(store, run_id, *WELL)
    app.run()
    assert "Fine-tuning: phase 2 of 2 · epoch 1 of 3" in words(app)
    assert not app.exception and not app.error


def test_a_run_that_ran_into_trouble_before_it_decided_anything_says_what_it_knows(open_page, store, pets):
    run_id = store.submit(LONG, running=True)
    store.runs.add_facts(run_id, notes=["Memory ran out."])
    store.runs.add_step(run_id, at=0.5, train_loss=1.0, lrs=[])
    app = open_page("runs")
    assert [info.value for info in app.info] == ["Memory ran out."]
    assert not app.exception and not app.error


def test_what_a_run_decided_on_its_own_is_told(open_page, store, pets):
    begin(store, notes=["Memory ran out with 16 images a step, so it takes 8."])
    assert [info.value for info in open_page("runs").info] == ["Memory ran out with 16 images a step, so it takes 8."]


def test_each_phase_says_what_it_gained(open_page, store, pets):
    finished(store)
    [gains] = [html.proto.body for html in open_page("runs").get("html") if '"thaw-gains' in html.proto.body]
    assert "Warm-up <b>86.0 %</b>" in gains
    assert "Fine-tuning <b>+4.0 points</b> to 90.0 %" in gains


def test_a_folded_chart_costs_nothing_until_it_is_opened(open_page, store, pets):
    finished(store)
    app = open_page("runs")
    assert len(app.get("vega_lite_chart")) == 1
    for more, title in enumerate(("Learning rates", "Gradient norm", "Throughput"), start=2):
        assert len(unfold(app, title).get("vega_lite_chart")) == more


# Sample photos


@pytest.fixture
def sampled(store, pets) -> int:
    """Two photos, a cat and a dog: the cat is always right, the dog becomes so in the second epoch."""
    rows = sorted(store.datasets.images(pets.id), key=lambda row: row.label)
    run_id = begin(store, sample_images=[rows[0].id, rows[-1].id])
    answers = [[[0, 0.6, 0.6], [0, 0.75, 0.25]], [[0, 0.9, 0.9], [1, 0.8, 0.8]]]
    learn(store, run_id, *WELL[:2], samples=answers)
    return run_id


def photos(app) -> str:
    [grid] = [text.value for text in app.markdown if "thaw-samples" in text.value]
    return grid


def test_photos_show_the_newest_answer_and_how_it_came_to_it(open_page, store, pets, sampled):
    grid = photos(open_page("runs"))
    assert "cat 90 %" in grid and "dog 80 %" in grid
    assert grid.count('aria-label="right"') == 2
    assert "25.0 % at first, 80.0 % as shown" in grid
    assert grid.count("<img src=") == 2


def test_an_earlier_epoch_can_be_looked_at_and_the_newest_is_followed(open_page, store, pets, sampled):
    app = open_page("runs")
    app.select_slider(key=f"as-of-{sampled}").set_value(1).run()
    assert "cat 75 %<br>is dog" in photos(app)
    assert photos(app).count('aria-label="wrong"') == 1
    app.select_slider(key=f"as-of-{sampled}").set_value(0).run()
    third = {"train_loss": 0.3, "valid_loss": 0.3, "error_rate": 0.1, "lrs": [], "seconds": 1.0}
    store.runs.add_epoch(
        sampled, True, epoch=3, phase=0, accuracy=0.9, samples=[[0, 0.97, 0.97], [1, 0.88, 0.88]], **third
    )
    assert "dog 88 %" in photos(app.run())


def test_a_class_with_a_name_like_markup_is_only_text(open_page, store, pets):
    image = store.datasets.images(pets.id)[0]
    run_id = begin(store, sample_images=[image.id], classes=["<img src=x onerror=y>", "dog"])
    learn(store, run_id, WELL[0], samples=[[[0, 0.5, 0.5]]])
    grid = photos(open_page("runs"))
    assert "<img src=x" not in grid and "&lt;img src=x onerror=y&gt; 50 %" in grid


def test_photos_that_are_gone_are_left_out(open_page, store, pets):
    run_id = begin(store, sample_images=[store.datasets.images(pets.id)[0].id, 4711])
    learn(store, run_id, WELL[0], samples=[[[0, 0.5, 0.5], [0, 0.5, 0.5]]])
    assert photos(open_page("runs")).count("<figure>") == 1


# The coach


def test_advice_opens_the_changed_recipe_on_the_train_page_from_the_phase_that_was_kept(open_page, store, pets):
    run_id = finished(store, OVERWRITTEN)
    keep(store.workspace.phase_end(run_id, 0))
    app = open_page("runs")
    assert "What the curves say" in words(app)
    assert "went from 86.0 % to 60.0 % and has not come back" in words(app)
    press(app, "Try a tenth of the rates")
    assert app.title[0].value == "Train"
    assert app.session_state["draft"]["phases"][1]["lr"] == [1e-6, 1e-4]
    assert app.session_state["parent"] == (run_id, 0)


def test_advice_starts_from_nothing_where_no_phases_end_was_kept(open_page, store, pets):
    finished(store, OVERWRITTEN)
    app = press(open_page("runs"), "Try a tenth of the rates")
    assert app.session_state["parent"] is None


def test_a_loss_that_was_no_number_is_tried_again_with_a_lower_rate(open_page, store, pets):
    run_id = begin(store)
    learn(store, run_id, *WELL[:3])
    keep(store.workspace.phase_end(run_id, 0))
    store.runs.end(run_id, "failed", "The loss stopped being a number. Try a tenth of the rate.")
    app = press(open_page("runs"), "Try a tenth of the rates")
    assert app.session_state["draft"]["phases"][1]["lr"] == [1e-6, 1e-4]


def test_the_coach_is_quiet_about_a_good_run(open_page, store, pets):
    finished(store, [*WELL, (1, 0.34, 0.394, 0.9)])
    assert "What the curves say" not in words(open_page("runs"))


# Control


@pytest.mark.parametrize(
    ("label", "asked", "said"),
    [
        ("Stop and keep what it has learnt", "stop", "is checked on the validation images and kept"),
        ("Stop after this epoch", "stop_after_epoch", "It stops when this epoch is done."),
        ("Pause after this epoch", "pause", "It pauses when this epoch is done."),
    ],
)
def test_a_running_run_is_asked_and_that_can_be_taken_back(open_page, store, pets, label, asked, said):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = press(open_page("runs"), label)
    assert store.runs.get(run_id).asked == asked
    assert said in app.info[0].value
    assert label not in labels(app)
    press(app, "Take that back and go on")
    assert store.runs.get(run_id).asked == ""
    assert label in labels(app)


def test_a_run_that_is_to_stop_later_can_still_be_stopped_now(open_page, store, pets):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = press(press(open_page("runs"), "Stop after this epoch"), "Stop now")
    assert store.runs.get(run_id).asked == "stop"
    assert "Stop now" not in labels(app)


def test_a_paused_run_is_resumed_or_stopped_for_good(open_page, store, pets):
    first, second = begin(store), begin(store)
    for run_id in (first, second):
        store.runs.end(run_id, "paused", "Paused by hand.")
    app = open_page("runs", run=str(first))
    assert "Paused by hand. Nothing is lost" in words(app)
    press(app, "Resume")
    press(open_page("runs", run=str(second)), "Stop and keep what it has learnt")
    assert [(run.id, run.asked) for run in store.queue.waiting()] == [(first, ""), (second, "stop")]


@pytest.mark.parametrize("status", ["stopped", "interrupted", "failed"])
def test_a_run_that_ended_early_is_resumed_where_there_is_something_to_resume(open_page, store, pets, status):
    run_id = begin(store)
    learn(store, run_id, *WELL[:2])
    store.runs.end(run_id, status, "The disk is full.")
    assert not [label for label in labels(open_page("runs")) if label.startswith(("Resume", "Start it"))]
    keep(store.workspace.resume_point(run_id))
    press(open_page("runs"), "Resume where it stopped")
    assert store.runs.get(run_id).status == "queued"


def test_a_run_that_learnt_nothing_is_started_again(open_page, store, pets):
    run_id = begin(store)
    store.runs.end(run_id, "failed", "The disk is full.")
    press(open_page("runs"), "Start it again")
    assert store.runs.get(run_id).status == "queued"


def test_a_finished_run_is_given_more_epochs(open_page, store, pets):
    run_id = finished(store)
    app = open_page("runs")
    app.number_input[0].set_value(7).run()
    press(app, "Train 7 more")
    run = store.runs.get(run_id)
    assert run.status == "queued"
    assert [(phase["name"], phase["epochs"]) for phase in run.recipe["phases"][2:]] == [("More epochs", 7)]
    assert "Run 1: waiting" in words(app)


def test_a_run_is_planned_from_a_phases_end_only_where_that_was_kept(open_page, store, pets):
    run_id = finished(store)
    assert "Plan a run from there" not in labels(open_page("runs"))
    keep(store.workspace.phase_end(run_id, 0))
    keep(store.workspace.phase_end(run_id, 1))
    app = open_page("runs")
    [box] = [box for box in app.selectbox if box.label == "Start again from the end of"]
    assert box.options == ["Warm-up (phase 1)", "Fine-tuning (phase 2)"]
    press(app, "Plan a run from there")
    assert app.title[0].value == "Train"
    assert app.session_state["parent"] == (run_id, 0)


def test_a_request_that_comes_too_late_is_no_error(open_page, store, pets):
    run_id = begin(store)
    store.runs.report(run_id, PROGRESS)
    app = open_page("runs")
    store.runs.end(run_id, "finished")
    press(app, "Pause after this epoch")
    assert "Run 1: finished" in words(app)
    assert not app.exception and not app.error


@pytest.mark.parametrize("status", ["queued", "running", "paused", "finished", "stopped", "interrupted", "failed"])
def test_every_status_has_one_primary_button_at_most(open_page, store, pets, status):
    run_id = begin(store) if status != "queued" else store.submit(LONG)
    if status == "running":
        store.runs.report(run_id, PROGRESS)
    elif status != "queued":
        learn(store, run_id, *WELL)
        store.runs.end(run_id, status, "A reason.")
        keep(store.workspace.resume_point(run_id))
    app = open_page("runs")
    assert sum(each.proto.type == "primary" for each in app.button) <= 1
    assert (not app.exception and not app.error) or status == "failed"
    assert button(app, "Take it out" if status == "queued" else "Stop and" if status == "running" else "Delete run")


def test_a_recipe_that_failed_before_it_learnt_anything_is_to_be_changed_first(open_page, store, pets):
    run_id = begin(store)
    store.runs.end(run_id, "failed", "The recipe has 1 mistake.")
    app = open_page("runs")
    assert [each.label for each in app.button if each.proto.type == "primary"] == ["Change the recipe"]
    assert button(app, "Start it again")


def test_a_run_whose_process_died_says_that_it_goes_on_by_itself(open_page, store, pets):
    run_id = begin(store)
    store.runs.requeue(run_id, "The training process was killed.")
    said = words(open_page("runs"))
    assert f"Run {run_id}: waiting" in said
    assert "The training process was killed. Nothing is lost: it goes on by itself from where it stood." in said
    store.runs.claim()
    said = words(open_page("runs"))
    assert f"Run {run_id}: training" in said
    assert "The training process was killed. It was taken up again from where it stood" in said


# Kin


def test_a_run_says_where_it_began_and_which_repeat_it_is(open_page, store, pets):
    parent = finished(store)
    keep(store.workspace.phase_end(parent, 0))
    child = store.submit(replace(LONG, seed=3), parent=(parent, 0))
    assert f"began from the end of phase 1 of run {parent}" in words(open_page("runs", run=str(child)))
    store.runs.ask(child, "stop")
    first = store.submit(replace(LONG, repeats=3))
    for accuracy in (0.5, 0.75):
        run_id = store.runs.claim()
        learn(store, run_id, (0, 1.0, 1.0, accuracy))
        store.runs.end(run_id, "finished")
    said = words(open_page("runs", run=str(first + 2)))
    names = f"runs {first}, {first + 1}, {first + 2}"
    assert f"3rd of 3 repeats ({names}): **62.5 ± 17.7 %**, mean and standard deviation of 2." in said


# Comparing


def test_runs_are_compared_in_one_chart_and_a_table(open_page, store, pets):
    first, second = finished(store), finished(store, [(0, 1.0, 1.0, 0.6), (0, 0.9, 0.9, 0.7), (1, 0.8, 0.8, 0.85)])
    app = open_page("runs")
    assert "Choose at least two" in words(app)
    app.multiselect(key="compared").set_value([first, second]).run()
    assert len(app.get("vega_lite_chart")) == 2
    table = app.dataframe[-1].value
    assert table["Until 85.0 %"].tolist() == ["epoch 2, 20 s", "epoch 3, 30 s"]
    assert table["Later phases gained"].tolist() == ["+4.0 points", "+15.0 points"]
    for key, value in (("compared-figure", "Validation loss"), ("compared-against", "Time")):
        app.segmented_control(key=key).set_value(value).run()
        assert not app.exception and not app.error


def test_comparing_is_not_offered_with_a_single_run(open_page, store, pets):
    finished(store)
    assert not open_page("runs").multiselect
