"""The Runs page shows a run live: bars, charts, sample photos, and what the coach makes of its curves."""

import pytest

from tests.pages.reading import press, unfold, words
from tests.pages.shown_runs import FACTS, LONG, OVERWRITTEN, PROGRESS, WELL, begin, finished, keep, learn

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


def test_a_phase_that_went_back_to_its_start_is_said_with_where_it_would_have_ended(open_page, store, pets):
    run_id = finished(store, [*WELL[:3], (1, 0.4, 0.5, 0.82), (1, 0.4, 0.46, 0.86)])
    tried = [{"point": 0.0, "loss": 0.46, "accuracy": 0.86}, {"point": 1.0, "loss": 0.9, "accuracy": 0.6}]
    gains = {"gain": 0.0, "gain_interval": [0.0, 0.0], "accuracy_gain": 0.0, "accuracy_gain_interval": [0.0, 0.0]}
    store.runs.add_facts(run_id, interpolated={"1": {"point": 0.0, "tried": tried, "images": 40} | gains})
    text = words(open_page("runs"))
    assert "Fine-tuning did not help: by steps alone it would have ended with a validation loss of 0.900" in text


def test_the_coach_is_quiet_about_a_good_run(open_page, store, pets):
    finished(store, [*WELL, (1, 0.34, 0.394, 0.9)])
    assert "What the curves say" not in words(open_page("runs"))
