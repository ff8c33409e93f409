"""A model card in Hugging Face's format: the README.md that goes with a model. Only what was measured or decided."""

from typing import Any

from learner.evaluation.results import SPLIT_TITLES, SplitName, figure_name, figure_text, load_golden, load_predictions
from learner.recipe.backbones import known_backbone
from learner.report.collecting import Collected, collect
from learner.store import Store
from learner.wording import count, duration, percent, percent_with_interval

COVERAGES = (0.9, 0.95, 0.99)
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy", "macro_f1": "f1"}
"""Figures that the card's data hold, by the names that the hub has for them."""
SPLIT_NAMES: dict[SplitName, str] = {"valid": "validation", "test": "test"}
NOT_STATED = "Not stated."
FASTAI_LINES = """\
from fastai.learner import load_learner

learn = load_learner("learner.pkl")  # a pickle can run any program hidden in it: open only those you trust
label, _, probabilities = learn.predict("photo.jpg")"""
TORCH_LINES = """\
from model import predict  # model.py, which lies beside model.safetensors and model.json; needs torch and timm

probabilities, none_of_these, distance = predict("photo.jpg")"""


HUB_LINES = """\
import timm, torch
from PIL import Image

model = timm.create_model("hf-hub:{}", pretrained=True).eval()
look = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
with torch.inference_mode():
    probabilities = model(look(Image.open("photo.jpg").convert("RGB"))[None]).softmax(1)[0]
print(dict(zip(model.pretrained_cfg["label_names"], probabilities.tolist())))"""


def make_card(store: Store, run_id: int, kind: str = "", repository: str = "") -> str:
    """The README.md: YAML, then Markdown. Raises what `learner.report.collecting.collect` raises.

    `kind` is the export that it lies beside, by default any of them; `repository` is `OWNER/NAME` on the hub.
    """
    from huggingface_hub import ModelCard

    from learner.report import limits

    told = collect(store, run_id)
    folder = store.run_folder(run_id)
    sections = {
        "Description": _description(told),
        "Classes": _classes(told),
        "Training data": _data(told),
        "Training": _training(told),
        "Evaluation": _evaluation(told),
        "How to use it": _use(kind, repository or "OWNER/NAME"),
        "None of these": _strangers(load_golden(folder), load_predictions(folder)["distance"]),
        "Limits": "\n".join(f"- {escaped(sentence)}" for sentence in limits(told)),
        "Intended use": f"{NOT_STATED}",
        "Licence": f"{NOT_STATED} The data and the weights that training began with have licences of their own.",
        "Energy and carbon": f"{NOT_STATED} It was not measured.",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    name = escaped(f"{told.version.name}: {count(len(told.classes), 'class', 'classes')}")
    return str(ModelCard(f"---\n{_data_of_the_card(told).to_yaml()}\n---\n\n# {name}\n\n{body}\n"))


def escaped(text: str) -> str:
    """A person's words in Markdown: shown as they are, whatever signs they hold, on one line."""
    plain = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|~!$" else sign.replace("&", "&amp;") for sign in plain)


def _data_of_the_card(told: Collected) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="image-folder",
            dataset_name=f"{told.version.name} (version {told.version.number})",
            dataset_split=split,
            metric_type=METRICS[key],
            metric_name=f"{figure_name(key, figure)}, {split} images",
            metric_value=round(figure["value"], 4),
        )
        for kind, split in SPLIT_NAMES.items()
        if kind in told.results
        for key, figure in told.results[kind]["figures"].items()
        if key in METRICS
    ]
    return ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "fastai", "timm", "thaw"],
        base_model=base_model(told.run.facts),
        model_name=f"{told.version.name}, run {told.run.id}",
        eval_results=results,
    )


def base_model(facts: dict[str, Any]) -> str | None:
    """The hub's repository that training began with; None where the weights came from elsewhere."""
    source = facts["weights"]
    if source["kind"] == "hub":
        return source["location"]
    if source["kind"] == "hub cache":
        known = known_backbone(facts["backbone"])
        return (known.hub_id or None) if known else None
    return None


def _description(told: Collected) -> str:
    facts = told.run.facts
    made = f"begun with {escaped(told.weights)}, with a new head, trained by Thaw {told.versions['Thaw']}"
    if facts["weights"]["kind"] == "import":
        made = f"{escaped(told.weights)}, imported by Thaw {told.versions['Thaw']}"
    return (
        f"An image classifier of {count(len(told.classes), 'class', 'classes')}: {escaped(facts['backbone'])} from "
        f"timm at {facts['image_size']} px, {made}. SHA-256 of model.safetensors: `{told.model_sha256}`"
    )


def _classes(told: Collected) -> str:
    return "In the order of its outputs:\n\n" + "\n".join(
        f"{number}. {escaped(name)}" for number, name in enumerate(told.classes)
    )


def _data(told: Collected) -> str:
    totals = {side: sum(sides[side] for sides in told.counts.values()) for side in ("train", "valid", "test")}
    rows = "\n".join(
        f"| {escaped(label)} | {sides['train']:,} | {sides['valid']:,} | {sides['test']:,} |"
        for label, sides in told.counts.items()
    )
    return (
        f"{escaped(told.version.name)}, version {told.version.number}: {count(totals['train'], 'training image')}, "
        f"{totals['valid']:,} for validation, {totals['test']:,} for a test; {told.card.median_width} × "
        f"{told.card.median_height} px in the median. Fingerprint: `{told.version.fingerprint}`\n\n"
        f"| Class | Training | Validation | Test |\n|---|---:|---:|---:|\n{rows}"
    )


def _training(told: Collected) -> str:
    run = told.run
    assert run.started_at is not None and run.finished_at is not None  # it has a result
    return (
        f"On {escaped(run.facts['device'])} in {duration(run.finished_at - run.started_at)}, computed in "
        f"{told.recipe.precision}; the best epoch was {run.best_epoch}. Python and packages: "
        + ", ".join(f"{name} {number}" for name, number in told.versions.items())
        + f".\n\n{_fenced(told.recipe.to_yaml(), 'yaml')}"
    )


def _evaluation(told: Collected) -> str:
    kinds = {kind: result for kind, result in told.results.items() if kind in SPLIT_NAMES}
    head = "".join(f" {SPLIT_TITLES[kind]} ({count(result['images'], 'image')}) |" for kind, result in kinds.items())
    rows = "\n".join(
        f"| {figure_name(key, figure)} |"
        + "".join(f" {figure_text(key, result['figures'][key])} |" for result in kinds.values())
        for key, figure in told.results["valid"]["figures"].items()
    )
    methods = "; ".join(sorted({figure["method"] for figure in told.results["valid"]["figures"].values()}))
    valid = told.results["valid"]
    classes = "\n".join(
        f"| {escaped(row['class'])} | {percent(row['precision'])} | "
        f"{percent_with_interval(row['recall'], row['recall_interval']) if row['recall_interval'] else '–'} | "
        f"{row['support']:,} |"
        for row in valid["per_class"]
    )
    return (
        f"| |{head}\n|---|{'---|' * len(kinds)}\n{rows}\n\nIn brackets: 95 % intervals ({methods}). The best epoch was "
        f"chosen on the validation images.\n\nHow sure the model is and how often it is right differ by "
        f"{percent(valid['calibration']['error'])} on average (expected calibration error, validation images, "
        f"temperature {valid['temperature']:.2f}).\n\nOf the validation images, class by class:\n\n"
        f"| Class | Precision | Recall (95 %) | Images |\n|---|---:|---:|---:|\n{classes}"
    )


def _use(kind: str, repository: str) -> str:
    if kind == "hf":
        return _fenced(HUB_LINES.format(repository), "python")
    if kind == "safetensors":
        return _fenced(TORCH_LINES, "python")
    return (
        "Both are exported by Thaw, and proven against the run's own answers.\n\nWith fastai and timm:\n\n"
        f"{_fenced(FASTAI_LINES, 'python')}\n\nWith torch and timm:\n\n{_fenced(TORCH_LINES, 'python')}"
    )


def _strangers(golden: dict[str, Any] | None, distances: Any) -> str:
    """`distances` (images,) of the validation images from the training images."""
    if golden is None or distances.isna().any():
        return "This model cannot say that an image is none of its classes."
    rows = "\n".join(f"| {percent(share)} | {distances.quantile(share):.4f} |" for share in COVERAGES)
    return (
        "An image farther from the training images than a threshold is called none of the classes. Distance: one minus "
        "the cosine similarity of its features to those of the fifth nearest training image (Sun et al. 2022, "
        "arXiv:2204.06507). The less of images like the validation images is answered, the more strangers are "
        f"noticed; how many was not measured on strangers.\n\n| Still answered | Threshold |\n|---:|---:|\n{rows}"
    )


def _fenced(text: str, language: str) -> str:
    """A code block that no run of backticks inside can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
