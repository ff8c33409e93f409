"""The model card: read by the hub's own reader, offline; measured figures only; names stay names."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from learner.errors import RunError
from learner.evaluation.intervals import wilson
from learner.evaluation.results import load_golden, load_predictions, load_result
from learner.recipe import Recipe
from learner.report.model_card import base_model, escaped, make_card
from learner.wording import percent_with_interval
from tests.samples import small_recipe


@pytest.fixture(scope="module")
def card(trained) -> ModelCard:
    return ModelCard(make_card(*trained))


@pytest.fixture(scope="module")
def sections(card) -> dict[str, str]:
    parts = re.split(r"^## (.*)$", card.text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def test_the_hub_reads_what_it_is(card):
    assert (card.data.library_name, card.data.pipeline_tag) == ("timm", "image-classification")
    assert "image-classification" in card.data.tags and "fastai" in card.data.tags


def test_its_metrics_are_the_measured_ones_and_name_data_and_split(trained, card):
    store, run_id = trained
    figures = load_result(store.workspace.run_folder(run_id))["figures"]
    told = {result.metric_type: result for result in card.data.eval_results}
    assert set(told) == {"accuracy", "balanced_accuracy", "f1"}
    assert told["accuracy"].metric_value == pytest.approx(figures["accuracy"]["value"], abs=5e-5)
    assert told["f1"].metric_value == pytest.approx(figures["macro_f1"]["value"], abs=5e-5)
    for result in told.values():
        assert (result.task_type, result.dataset_split) == ("image-classification", "validation")
        assert result.dataset_name == "pets (version 1)"


def test_the_interval_stands_in_the_text(trained, sections):
    store, run_id = trained
    table = load_predictions(store.workspace.run_folder(run_id))
    right = int((table["label"] == table["predicted"]).sum())
    told = percent_with_interval(right / len(table), wilson(right, len(table)))
    assert f"| Accuracy | {told} |" in sections["Evaluation"]
    assert "Validation (16 images)" in sections["Evaluation"] and "Test (" not in sections["Evaluation"]


def test_nothing_is_invented(card, sections):
    assert card.data.license is None and card.data.base_model is None and card.data.datasets is None
    for title in ("Licence", "Intended use", "Energy and carbon"):
        assert sections[title].startswith("Not stated.")


def test_classes_are_in_the_order_of_the_outputs(trained, sections):
    store, run_id = trained
    classes = load_result(store.workspace.run_folder(run_id))["classes"]
    assert re.findall(r"^(\d+)\. (.*)$", sections["Classes"], flags=re.MULTILINE) == [
        (str(index), name) for index, name in enumerate(classes)
    ]


def test_the_recipe_in_it_can_be_used(trained, sections):
    recipe = Recipe.from_yaml(re.search(r"```yaml\n(.*?)```", sections["Training"], flags=re.DOTALL)[1])
    assert recipe.phases == Recipe.from_dict(trained[0].runs.get(trained[1]).recipe).phases


def test_the_threshold_of_none_of_these_is_the_models(trained, sections):
    store, run_id = trained
    far = load_predictions(store.workspace.run_folder(run_id))["distance"]
    share, threshold = re.search(r"\| (95\.0 %) \| ([\d.]+) \|", sections["None of these"]).groups()
    assert (far <= float(threshold) + 1e-4).mean() >= 0.93 and share
    assert load_golden(store.workspace.run_folder(run_id)) is not None


def test_the_lines_to_use_it_are_python(sections):
    blocks = re.findall(r"```python\n(.*?)```", sections["How to use it"], flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "card", "exec")


@pytest.mark.parametrize(
    ("weights", "repository"),
    [
        ({"kind": "hub", "location": "timm/resnet18.a1_in1k"}, "timm/resnet18.a1_in1k"),
        ({"kind": "hub cache", "location": "/somewhere/model.safetensors"}, "timm/resnet18.a1_in1k"),
        ({"kind": "file", "location": "/somewhere/resnet18.pth"}, None),
        ({"kind": "random", "location": ""}, None),
    ],
)
def test_a_base_model_is_named_only_where_the_weights_are_the_hubs(weights, repository):
    assert base_model({"weights": weights, "backbone": "resnet18"}) == repository


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("a|b", r"a\|b"),
        ("two\n\n# lines", r"two \# lines"),
        ("[x](http://evil)", r"\[x\](http://evil)"),
        ("R&amp;D", "R&amp;amp;D"),
        ("Katze ÄÖ 猫", "Katze ÄÖ 猫"),
    ],
)
def test_names_stay_names(name, shown):
    assert escaped(name) == shown


def test_a_name_cannot_break_the_data_of_the_card(trained):
    front = make_card(*trained).split("---\n")[1]
    assert yaml.safe_load(front)["model-index"][0]["name"] == f"pets, run {trained[1]}"


def test_a_run_without_a_result_has_no_card(pets):
    queued = pets.submit(small_recipe())
    with pytest.raises(RunError, match="has no result"):
        make_card(pets, queued)
