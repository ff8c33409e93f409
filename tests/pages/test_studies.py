"""The Studies view of the Runs page, and the question on the Train page that begins one."""

from dataclasses import replace

import numpy as np
import pytest

from learner.datasets import held_back_by
from learner.evaluation.metrics import evaluate
from learner.evaluation.results import save_result, split_folder
from learner.recipe import Phase, Recipe
from learner.store import Store
from learner.studies.design import Design, Variant, create_study
from learner.studies.search import advance, create_search
from learner.studies.space import read_space
from learner.studies.trials import Search, result_of_search
from tests.learner.store.writing import add_epoch
from tests.pages.reading import press, unfold, words
from tests.samples import small_recipe

HEAD = small_recipe(phases=[Phase("Solve the head", solve=True)])
ALL = replace(HEAD, phases=[*HEAD.phases, Phase("Fine-tuning", trainable="all", epochs=1)])
CLASSES = ["cat", "dog"]


@pytest.fixture
def study(store, pets) -> int:
    variants = (Variant("head only", HEAD), Variant("everything", ALL))
    return create_study(store, Design(variants, seeds=2, folds=2))


def finish(store: Store, run, wrong: int) -> None:
    """End a run whose model has so many photos of its fold wrong."""
    store.runs.ask(run.id, "stop")
    store.runs.resume(run.id, running=True)
    images = held_back_by(Recipe.from_dict(run.recipe), store.datasets.images(run.dataset_version_id))
    targets = np.array([CLASSES.index(image.label) for image in images])
    said = targets.copy()
    said[:wrong] = 1 - said[:wrong]
    probs = np.where(np.arange(2) == said[:, None], 0.9, 0.1)
    folder = split_folder(store.workspace.run_folder(run.id), "fold")
    folder.mkdir(parents=True)
    save_result(folder, evaluate(probs, targets, CLASSES), probs, images, CLASSES)
    store.runs.add_facts(run.id, train_images=8, valid_images=2)
    store.runs.end(run.id, "finished")


def test_without_a_study_the_page_shows_runs_alone(open_page, store, pets):
    store.submit(HEAD)
    app = open_page("runs")
    assert not app.segmented_control or "Studies" not in words(app)


def test_a_study_that_waits_says_so_and_is_stopped_and_gone_on_with(open_page, store, study):
    app = open_page("runs", view="studies")
    said = words(app)
    assert f"Study {study}: under way" in said and "No answer yet" in said and "No worker is running" in said
    press(app, "Stop the study")
    assert f"Study {study}: stopped" in words(app)
    press(app, "Go on")
    assert {run.status for run in store.studies.runs_of(study)} == {"queued"}


def test_what_is_proven_stands_first_with_its_table_and_chart(open_page, store, study):
    for index, run in enumerate(store.studies.runs_of(study)):
        finish(store, run, wrong=4 if run.variant == 0 else index % 4 // 3)
    app = open_page("runs", view="studies")
    said = words(app)
    assert f"Study {study}: done" in said
    assert "**everything is better than head only: +" in said
    table = app.table[0].value
    assert table["Variant"].tolist() == ["head only", "everything"] and table["Runs"].tolist() == ["4 of 4"] * 2
    assert table["Accuracy"].tolist()[0] == "50.0 ± 0.0 %"  # 4 of 8 are wrong in each of its runs
    assert len(app.get("vega_lite_chart")) == 1


def test_it_is_deleted_only_after_a_question_and_had_back(open_page, store, study):
    app = open_page("runs", view="studies")
    press(app, "Delete them")
    assert store.studies.all() == [] and store.runs.all() == []
    app = open_page("runs")
    assert "No runs yet" in words(app)
    store.studies.undelete(study)
    app = press(open_page("runs", view="studies"), "Delete them")
    other = create_study(store, Design((Variant("a", HEAD), Variant("b", ALL)), seeds=1, folds=2))
    app = open_page("runs", view="studies")
    assert f"Study {other}: under way" in words(app)
    press(app, "Bring back")
    assert {one.id for one in store.studies.all()} == {study, other}


def test_runs_of_studies_do_not_crowd_the_list_and_are_one_line_of_the_queue(open_page, store, study):
    own = store.submit(HEAD)
    app = open_page("runs")
    assert app.dataframe[0].value["Run"].tolist() == [own]
    assert f"1 to 8. **Study {study}** · pets (version 1) · 8 runs" in words(app)
    app.toggle(key="study-runs").set_value(True).run()
    assert len(app.dataframe[0].value) == 9
    app.button(key=f"Earlier-{own}").click().run()
    assert store.queue.waiting()[0].id == own  # before the whole study


def test_the_train_page_asks_whether_unfreezing_helped(open_page, store, pets):
    app = unfold(open_page("train"), "Did unfreezing help?")
    said = words(app)
    assert "*head only*" in said and "*everything*" in said and "20 runs." in said
    app.number_input(key="study-folds").set_value(2).run()
    assert "8 runs." in words(app)
    press(app, "Start the study")
    [made] = store.studies.all()
    assert len(store.studies.runs_of(made.id)) == 8
    recipes = {run.variant: Recipe.from_dict(run.recipe) for run in store.studies.runs_of(made.id)}
    assert [len(recipes[index].phases) for index in range(4)] == [1, 2, 2, 2]


class TestSearch:
    @pytest.fixture
    def search(self, store, pets) -> int:
        study = create_search(store, Search(ALL, read_space(["phases.1.trainable=layer4,all", "batch_size=4,8"]), 4))
        advance(store)
        return study

    def train(self, store: Store, loss: float) -> None:
        run_id = store.runs.claim()
        assert run_id is not None
        add_epoch(store, run_id, 1, valid_loss=loss)
        store.runs.end(run_id, "finished")
        advance(store)

    def test_its_trials_are_shown_the_best_first_and_it_is_stopped_and_gone_on_with(self, open_page, store, search):
        app = open_page("runs", view="studies")
        assert f"Study {search}: under way" in words(app) and "No answer yet" in words(app)
        self.train(store, 0.5)
        self.train(store, 0.3)
        app = open_page("runs", view="studies")
        said = words(app)
        assert "**Trial 2 is the best so far, with a loss of 0.300; the recipe as it was asked has 0.500.**" in said
        assert app.table[0].value["Trial"].tolist() == ["2", "1", "3"]
        assert app.table[0].value["Status"].tolist() == ["finished", "finished", "queued"]
        assert len(app.get("vega_lite_chart")) == 1
        press(app, "Stop the study")
        assert f"Study {search}: stopped" in words(app)
        press(app, "Go on")
        assert f"Study {search}: under way" in words(app)

    def test_the_best_is_confirmed_by_a_study_or_opened_in_train(self, open_page, store, search):
        self.train(store, 0.5)
        self.train(store, 0.3)
        press(open_page("runs", view="studies"), "Is it better, or was it chance?")
        confirming, _ = store.studies.all()
        assert [one["name"] for one in confirming.design["variants"]] == ["as asked", "found"]
        assert len(store.studies.runs_of(confirming.id)) == 10
        best = result_of_search(store, search).search.recipe_of(1)
        app = open_page("runs", view="studies", study=search)
        press(app, "Open the best recipe in Train")
        assert app.session_state["draft"] == best.to_dict()

    def test_the_train_page_starts_one(self, open_page, store, pets):
        app = unfold(open_page("train"), "Search for a better recipe")
        app.number_input(key="search-trials-number").set_value(7).run()
        assert "Up to 7 runs." in words(app)
        press(app, "Start the search")
        [made] = store.studies.all()
        assert made.design["trials"] == 7 and len(made.design["space"]) == 5
