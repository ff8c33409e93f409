"""The Train page: recipes to start from, every setting there and back, errors beside fields, going on from a run."""

from dataclasses import replace
from functools import partial

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from learner.datasets import add_dataset
from learner.recipe import AUTO, Augment, Head, Phase, Recipe, read_recipe, recipe_names
from learner.recipe.backbones import FALLBACK_ARCH
from tests.pages.reading import button, press, run_until, unfold, words
from tests.samples import CLASSIC, SMALL, TWO_PHASES, make_photos
from ui.training.picker import first_sentence, read_upload, recipe_comment

EVERYTHING = Recipe(
    "pets",
    version=1,
    backbone=FALLBACK_ARCH,
    weights="random",
    head=Head("fc", [128, 32], dropout=0.35, pool="average"),
    image_size=100,
    batch_size=12,
    valid_fraction=0.125,
    grouped=False,
    folds=5,
    fold=2,
    seed=7,
    repeats=3,
    loss="focal",
    focal_gamma=1.5,
    balance="oversample",
    mix="cutmix",
    mix_alpha=1.0,
    clip_norm=1.0,
    accumulate=2,
    workers=2,
    precision="fp32",
    cache="off",
    augment=Augment(True, True, True, 20.0, [0.8, 1.3], 0.15, 0.07, 0.33),
    views=3,
    phases=[
        Phase("Warm-up", epochs=1, lr=0.004, schedule="constant", optimizer="sgd", momentum=0.8, image_size=64),
        Phase("Two rates", "block6", 2, [1e-4, 2e-3], "flat_cos", 0.05, "ranger", patience=2),
        Phase("By part", "all", 1, {"block7": 1e-4, "head": 1e-3}, optimizer="rmsprop"),
    ],
)
"""A recipe in which no setting is as usual, label smoothing apart, which focal loss rules out."""


@pytest.fixture
def open_page(open_page):
    """The Train page has the classic recipe."""
    return partial(open_page, draft=CLASSIC)


def shown(app) -> Recipe:
    """The recipe that the page shows as a file."""
    return Recipe.from_dict(yaml.safe_load(app.code[0].value))


def put(app, recipe: Recipe, parent: tuple[int, int] | None = None):
    """Open the Train page with a recipe that another page has put there."""
    app.session_state["draft"] = recipe.to_dict()
    app.session_state["parent"] = parent
    app.session_state["draft_number"] = 1
    return app.run()


def can_start(app) -> bool:
    return not next(b for b in app.button if b.label.startswith("Start ")).disabled


class TestRecipes:
    def test_each_is_described_before_it_is_used(self, open_page, pets):
        app = open_page("train")
        assert button(app, "Use this recipe").disabled
        assert list(app.selectbox(key="picked_recipe").options) == [name for name in recipe_names() if name != AUTO]
        app.selectbox(key="picked_recipe").set_value("calico_tabby").run()
        assert "Calico or tabby cat, with very few photos: bottleneck features, then fine-tuning." in words(app)
        assert "Published: 71.7 % of the validation photos right" in words(app)
        assert shown(app) == CLASSIC  # nothing is changed yet

    def test_the_page_shows_exactly_the_recipe_that_was_picked(self, open_page, pets):
        app = open_page("train")
        edits = {"edited_rows": {0: {"epochs": 9}}, "added_rows": [], "deleted_rows": [1]}
        for picked, name in enumerate(name for name in recipe_names() if name != AUTO):
            drawn = f" {picked}" if picked else ""  # each recipe has fields of its own
            app.number_input(key=f"batch_size{drawn}").set_value(5)
            app.session_state[f"phases{drawn}"] = edits
            app.selectbox(key="picked_recipe").set_value(name).run()
            press(app, "Use this recipe")
            assert not app.exception, name
            assert shown(app) == read_recipe(name, "pets"), name

    def test_a_recipe_whose_weights_are_missing_says_so_and_cannot_be_started(self, open_page, pets):
        app = open_page("train")
        app.selectbox(key="picked_recipe").set_value("flower5_to_flower102").run()
        press(app, "Use this recipe")
        assert "run:flower-photos needs a finished run on a data set 'flower-photos'" in words(app)
        assert not can_start(app)

    def test_a_file_is_read_for_the_chosen_data_set_and_keeps_all_its_settings(self):
        recipe = read_upload(EVERYTHING.to_yaml().encode(), "mine.yaml", "cars")
        assert recipe == replace(EVERYTHING, dataset="cars")

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"batch_size: many\n", "batch_size: It should be a valid integer"),
            (b"lerning_rate: 1\n", "lerning_rate: there is no such key"),
            (b"phases: [{name: A, epochs: 0}]\n", "phases.0.epochs: "),
            (b"a: [\n", "not valid YAML"),
            (b"\xff\xfe\x00", "it is not a text file"),
            (b"just words", "it should be a list of keys and values"),
            (b"x" * 200_000, "larger than 100 kB"),
        ],
    )
    def test_a_file_that_cannot_be_used_says_why(self, open_page, pets, content, told):
        app = open_page("train")
        app.file_uploader(key="uploaded_recipe").set_value(("mine.yaml", content, "text/yaml")).run()
        assert "mine.yaml cannot be used:" in app.error[0].value
        assert told.lower() in app.error[0].value.lower()
        assert not app.exception

    def test_a_good_file_replaces_what_the_page_shows(self, open_page, pets):
        app = open_page("train")
        content = EVERYTHING.to_yaml().encode()
        app.file_uploader(key="uploaded_recipe").set_value(("mine.yaml", content, "text/yaml")).run()
        press(app, "Use this file")
        assert shown(app) == EVERYTHING

    def test_the_first_sentence_of_a_comment_ends_where_it_ends(self):
        assert first_sentence("Only the head\nlearns, at 0.001. It is fast.") == "Only the head learns, at 0.001."
        assert first_sentence(recipe_comment("quick")) == "Only the new head learns, on the frozen body."


class TestThereAndBack:
    def test_every_setting_that_is_put_on_the_page_is_in_the_recipe_it_makes(self, open_page, pets):
        app = put(open_page("train"), EVERYTHING)
        assert not app.exception and not app.error
        assert shown(app) == EVERYTHING
        assert shown(app.run()) == EVERYTHING

    def test_so_are_the_others_of_each_choice(self, open_page, pets):
        other = replace(
            EVERYTHING, loss="cross_entropy", label_smoothing=0.1, balance="weights", mix="mixup", repeats=1
        )
        other = replace(other, folds=0, fold=1, head=Head("attention", [16], 0.25), augment=Augment(zoom=1.25), views=0)
        app = put(open_page("train"), other)
        assert shown(app) == other

    def test_so_are_solved_heads_averages_the_best_point_and_lists_of_parts(self, open_page, pets):
        phases = [
            Phase("Solve the head", solve=True),
            Phase("Parts", ["block7", "head"], "auto", average=True, interpolate=True),
            Phase("One part", ["block6"], 2),
        ]
        recipe = replace(EVERYTHING, head=Head("solved"), phases=phases)
        app = put(open_page("train"), recipe)
        assert not app.exception and not app.error
        assert shown(app) == recipe
        assert shown(app.run()) == recipe

    def test_it_survives_a_look_at_another_page(self, open_page, pets):
        app = put(open_page("train"), EVERYTHING)
        app.switch_page("pages/data.py").run()
        app.switch_page("pages/train.py").run()
        assert shown(app) == EVERYTHING

    def test_what_differs_from_a_new_recipe_is_said_in_a_line(self, open_page, pets):
        said = words(put(open_page("train"), EVERYTHING))
        for part in ("fc head 128-32, dropout 35 %", "oversampling", "focal loss (1.5)", "gradients up to 1", "CutMix"):
            assert part in said
        for part in ("2 batches a step", "3 repeats", "fold 2 of 5", "slanted up to 15 %", "enlarged 0.8 to 1.3 times"):
            assert part in said

    def test_fields_reach_the_recipe(self, open_page, pets):
        app = open_page("train")
        for key, value in {"kind": "fc", "balance": "weights", "mix": "mixup", "weights": "random"}.items():
            app.selectbox(key=key).set_value(value)
        for key, value in {"shear": 20.0, "shift": 10.0, "least_zoom": 0.9, "clip_norm": 2.0, "repeats": 2}.items():
            app.number_input(key=key).set_value(value)
        app.run()
        app.text_input(key="widths").set_value("64, 32").run()
        recipe = shown(app)
        assert (recipe.head.kind, recipe.head.widths, recipe.balance, recipe.mix) == (
            "fc",
            [64, 32],
            "weights",
            "mixup",
        )
        assert (recipe.augment.shear, recipe.augment.shift, recipe.augment.zoom) == (0.2, 0.1, [0.9, 1.0])
        assert (recipe.clip_norm, recipe.repeats, recipe.weights) == (2.0, 2, "random")

    def test_the_table_keeps_its_edits_when_the_backbone_changes(self, open_page, pets):
        app = open_page("train")
        app.session_state["phases"] = {"edited_rows": {0: {"epochs": 9}}, "added_rows": [], "deleted_rows": []}
        app.run()
        app.selectbox(key="weights").set_value("random")
        app.selectbox(key="backbone").set_value("vgg16").run()
        assert (shown(app).backbone, shown(app).phases[0].epochs) == ("vgg16", 9)


class TestMistakes:
    @pytest.mark.parametrize(
        ("kind", "key", "value", "told"),
        [
            ("text_input", "widths", "64, many", "Units of its hidden layers: It should be a whole number"),
            ("number_input", "valid_fraction", 1.0, "Share for validation (%): It should be greater than"),
            ("number_input", "folds", 1, "Folds (0: one split): Use 0 for a plain split"),
            ("number_input", "least_zoom", 2.0, "Enlarge by up to (factor): Use one factor"),
            ("number_input", "dropout", 100.0, "Dropout (%): It should be less than 1"),
        ],
    )
    def test_one_stands_beneath_its_field_and_where_the_start_button_is(self, open_page, pets, kind, key, value, told):
        app = open_page("train")
        if key == "widths":
            app.selectbox(key="kind").set_value("fc").run()
        getattr(app, kind)(key=key).set_value(value).run()
        beneath, at_start = app.error
        assert beneath.value.startswith(told)
        assert told in at_start.value and at_start.value.startswith("Training can start once")
        assert not can_start(app) and not app.exception

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ({"lr of lowest stage": 0.001}, "Phase 2 (Fine-tuning), lr, head: give it too"),
            ({"lr": 0.0}, "Phase 2, learning rate: Use auto, one number"),
            ({"image_size": 16}, "Phase 2, Image size (px): It should be greater than or equal to 32"),
            ({"momentum": 1.0}, "Phase 2, Momentum: It should be less than 1"),
        ],
    )
    def test_one_in_the_table_names_row_and_column(self, open_page, pets, row, told):
        app = open_page("train")
        app.session_state["phases"] = {"edited_rows": {1: row}, "added_rows": [], "deleted_rows": []}
        app.run()
        assert app.error[0].value.startswith(told)
        assert not can_start(app)

    def test_two_ways_to_give_a_rate_exclude_each_other(self, open_page, pets):
        app = open_page("train")
        app.session_state["rates"] = {"edited_rows": {0: {"head": 0.01}}, "added_rows": [], "deleted_rows": []}
        app.run()
        assert shown(app).phases[0].lr == {"head": 0.01}
        app.session_state["phases"] = {"edited_rows": {0: {"lr": 0.1}}, "added_rows": [], "deleted_rows": []}
        app.run()
        assert "Phase 1 (Warm-up), lr, lowest stage or lr, head: leave both empty" in app.error[0].value

    def test_a_flattening_head_with_sizes_of_phases_is_told_beneath_the_table(self, open_page, pets):
        app = open_page("train")
        app.selectbox(key="kind").set_value("fc").run()
        app.selectbox(key="pool").set_value("flatten")
        app.session_state["phases"] = {"edited_rows": {0: {"image_size": 64}}, "added_rows": [], "deleted_rows": []}
        app.run()
        assert app.error[0].value.startswith("Phases: With head.pool: flatten no phase can have its own image_size")

    def test_what_only_the_store_can_refuse_is_told_by_the_button(self, open_page, store, pets, monkeypatch):
        app = open_page("train")
        app.selectbox(key="weights").set_value("file").run()
        app.text_input(key="weights_file").set_value("/nosuch.pth").run()
        assert "neither auto, random nor a file that exists" in app.error[0].value
        assert not can_start(app)


class TestGoingOn:
    @pytest.fixture
    def parent(self, store, pets) -> int:
        """A finished run of two phases that has kept the end of its first."""
        run_id = store.submit(TWO_PHASES, running=True)
        store.runs.add_facts(run_id, backbone=SMALL)
        store.runs.end(run_id, "finished")
        end = store.workspace.phase_end(run_id, 0)
        end.parent.mkdir(parents=True)
        end.touch()
        return run_id

    def test_its_phases_stay_and_the_new_run_names_it(self, open_page, store, parent):
        recipe = replace(TWO_PHASES, phases=[TWO_PHASES.phases[0], Phase("Slower", "all", 2, [1e-5, 1e-4])])
        app = put(open_page("train"), recipe, (parent, 0))
        assert f"Starts from the end of phase 1 (Warm-up) of run {parent}." in words(app)
        assert "1. **Warm-up**, 1 epoch: the head learned" in words(app)
        assert app.selectbox(key="backbone 1").disabled and app.selectbox(key="kind 1").disabled
        assert not app.error
        app.button_group(key="trackers").set_value(["wandb"]).run()
        press(app, "Start training")
        run = store.runs.all()[0]
        assert run.facts == {"trackers": ["wandb"]}
        assert (run.parent, run.parent_phase, run.status) == (parent, 0, "queued")
        assert [phase["name"] for phase in run.recipe["phases"]] == ["Warm-up", "Slower"]

    def test_it_can_be_dropped_and_all_phases_can_be_changed_again(self, open_page, store, parent):
        app = put(open_page("train"), TWO_PHASES, (parent, 0))
        press(app, "Start from the beginning instead")
        assert "Starts from the end" not in words(app)
        assert shown(app) == TWO_PHASES
        assert not app.selectbox(key="backbone 2").disabled

    def test_what_is_gone_meanwhile_is_told_by_the_button(self, open_page, store, parent):
        app = put(open_page("train"), TWO_PHASES, (parent, 0))
        store.workspace.phase_end(parent, 0).unlink()
        press(app, "Start training")
        assert f"Run {parent} has kept nothing from the end of phase 1" in app.error[0].value
        assert len(store.runs.all()) == 1

    def test_a_body_of_a_finished_run_can_be_chosen(self, open_page, store, parent):
        app = open_page("train")
        app.selectbox(key="weights").set_value("run").run()
        assert "no model" in app.error[0].value  # the run has no checkpoint
        store.workspace.checkpoint(parent).touch()
        app.run()
        assert f"as run {parent} has trained it, with a new head" in words(app)
        assert shown(app).weights == f"run:{parent}"
        app.selectbox(key="weights_run").set_value("run:pets").run()
        assert shown(app).weights == "run:pets" and can_start(app)
        app.selectbox(key="backbone").set_value("vgg16").run()
        assert f"Run {parent} trained {SMALL}." in app.error[0].value


def test_repeats_say_how_many_runs_start_and_start_them(open_page, store, pets):
    app = open_page("train")
    app.number_input(key="repeats").set_value(3).run()
    press(app, "Start 3 runs")
    assert [run.recipe["seed"] for run in reversed(store.runs.all())] == [42, 43, 44]


def test_very_unequal_classes_are_pointed_out_until_something_is_done(open_page, store, tmp_path):
    add_dataset(store, make_photos(tmp_path / "birds", {"crow": 16, "owl": 4}, size=(48, 40)), "birds")
    app = open_page("train")
    assert "crow has 16 images, owl only 4" in app.info[0].value
    app.selectbox(key="balance").set_value("weights").run()
    assert not app.info


def test_layers_arrive_once_they_are_asked_for(open_page, pets):
    app = open_page("train")
    app.selectbox(key="weights").set_value("random").run()
    app.number_input(key="batch_size").set_value(4).run()
    assert not [table for table in app.dataframe if "Output" in table.value]
    unfold(app, "Layers")
    assert "Building the network once to list its layers" in words(app)
    run_until(app, lambda app: "parameters learn" in words(app))
    table = next(table.value for table in app.dataframe if "Output" in table.value)
    assert {"Part", "Layer", "Output", "Parameters", "Warm-up", "Fine-tuning"} <= set(table.columns)
    learning = table[table["Parameters"] > 0]
    assert set(learning[learning["Warm-up"] == "learns"]["Part"]) == {"head"}
    assert set(learning["Fine-tuning"]) == {"learns"}


def test_going_on_from_the_last_phase_begins_with_a_copy_of_it():
    def script():
        import streamlit as st

        from tests.samples import TWO_PHASES
        from ui import drafts

        if st.button("Go on"):
            drafts.put_on_train(TWO_PHASES, parent=(3, 1))

    app = AppTest.from_function(script).run()
    app.button[0].click().run()
    assert app.session_state["parent"] == (3, 1) and app.session_state["dataset"] == "pets"
    last, added = app.session_state["draft"]["phases"][1:]
    assert added == last | {"name": "Further training"}
