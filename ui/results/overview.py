"""How good a run's model is: figures with intervals on each kind of images, curves, class by class."""

from typing import Any

import streamlit as st

from learner.evaluation.compare import spread
from learner.evaluation.optimism import optimism_of, optimism_text
from learner.evaluation.results import SPLIT_TITLES, figure_name, figure_text, refit_text
from learner.store import Run
from learner.wording import count, percent, percent_with_interval
from ui import state
from ui.drawing import show_chart
from ui.names import plain
from ui.results import charts
from ui.results.shown import Shown
from ui.results.test_images import look_button
from ui.results.trained import show_training

HELP = (
    "**Accuracy**: share of images that are right. **Balanced accuracy**: the mean over the classes of how many of "
    "each were found, so that rare classes count as much as frequent ones. **Macro F1**: the mean of the classes' F1. "
    "**Log loss**: how surprised the model is by the truth; lower is better."
)
FEW_CLASSES = 6
ROC, PR = "ROC", "Precision and recall"


def show_overview(shown: Shown) -> None:
    show_figures(shown)
    show_spread(shown)
    show_test_set(shown)
    show_calibration(shown)
    show_curves(shown)
    show_classes(shown)
    show_training(shown)


def show_figures(shown: Shown) -> None:
    """A row a figure, a column a kind of images; these are never mixed."""
    results = {split: shown.result(split) for split in shown.splits}
    valid = results["valid"]
    if "figures" not in valid:
        return
    rows = []
    for key, figure in valid["figures"].items():
        row = {"": figure_name(key, figure)}
        for split, result in results.items():
            row[f"{SPLIT_TITLES[split]} ({result['images']:,})"] = figure_text(key, result["figures"][key])
        rows.append(row)
    with st.container(key="figures"):
        st.table(rows, border="horizontal", width="content", alt="Figures with their intervals on each kind of images.")
    methods = {figure["method"] for figure in valid["figures"].values()}
    st.caption(
        f"In brackets: 95 % intervals ({'; '.join(sorted(methods))}). From the checkpoint after epoch "
        f"{shown.run.best_epoch}. {chosen_text(shown)} "
        "The model has learnt the training images: far better there than on validation images means that it has "
        "learnt them by heart.",
        help=HELP,
    )
    if text := refit_text(shown.run.facts):
        st.caption(text)


def chosen_text(shown: Shown) -> str:
    """That the best epoch was chosen on the validation images, and by how much that flatters where it can be told."""
    found = optimism_of(shown.store.runs.epochs(shown.run.id), shown.run.facts)
    if found is None:
        return "It was chosen on the validation images, so expect slightly less on new photos."
    return optimism_text(found)


def show_spread(shown: Shown) -> None:
    """How far runs of the same recipe with other seeds, or on other folds, lie apart."""
    for what, runs in related_runs(shown.run, shown.store.runs.all()).items():
        found = spread([run.best_accuracy for run in runs if run.best_accuracy is not None])
        if found is None or found.deviation is None:
            continue
        ids = ", ".join(str(run.id) for run in sorted(runs, key=lambda run: run.id))
        st.markdown(
            f"**{100 * found.mean:.1f} ± {100 * found.deviation:.1f} %** over {found.runs} {what} (runs {ids}): mean "
            "and standard deviation of the validation accuracy."
        )


def related_runs(run: Run, runs: list[Run]) -> dict[str, list[Run]]:
    """Finished runs that differ from `run` in their seed alone, or in their fold alone, `run` among them.

    Only kinds of which there are two or more.
    """
    found = {}
    for what, key in (("seeds", "seed"), ("folds", "fold")):

        def rest(one: Run, key: str = key) -> dict[str, Any]:
            return {name: value for name, value in one.recipe.items() if name != key}

        same = [
            one
            for one in runs
            if one.status == "finished" and one.dataset_version_id == run.dataset_version_id and rest(one) == rest(run)
        ]
        if len({one.recipe[key] for one in same}) > 1:
            found[what] = same
    return found


def show_test_set(shown: Shown) -> None:
    st.subheader("Test images")
    counts = shown.store.datasets.counts(shown.run.dataset_version_id)
    images = sum(number for _, split, number in counts if split == "test")
    if not images:
        st.caption(
            "There are none in this version of the data set. A test set, drawn on the Data page under Split, is looked "
            "at only when you ask: it tells how good the model you settled for is on photos that decided nothing."
        )
        return
    looks = shown.store.runs.test_looks(shown.dataset)
    result = shown.found("test")
    if result is not None:
        figure = percent_with_interval(result["accuracy"], result["accuracy_interval"])
        st.markdown(f"**{figure}** right of {count(result['images'], 'test image')}, by this run.")
    runs = len({look.run_id for look in looks})
    times = "never been looked at" if not looks else f"been looked at {count(len(looks), 'time')}"
    by = f", by {count(runs, 'run')}" if looks else ""
    st.caption(
        f"The {count(images, 'test image')} of {plain(shown.dataset)} have {times}{by}. The more often they help "
        "you choose, the less they say about new photos: look once, with the model you have settled for."
    )
    look_button(
        shown.store, shown.run.id, "test", "Look at the test images" if result is None else "Look at them once more"
    )


def show_calibration(shown: Shown) -> None:
    result = shown.result()
    if "calibration" not in result:
        return
    st.subheader("How far its certainty can be trusted")
    error, before = result["calibration"]["error"], result["uncalibrated"]["error"]
    left, right = st.columns([3, 2], vertical_alignment="center")
    show_chart(
        charts.calibration,
        result["calibration"]["bins"],
        state.is_dark(),
        place=left,
        alt="Calibration curve: how sure the model was against how often it was right, with the diagonal.",
    )
    right.markdown(
        f"How sure the model is and how often it is right differ by **{percent(error)}** on average (expected "
        f"calibration error); by {percent(before)} before its certainty was scaled."
    )
    fitted = "It was fitted on these same validation images, one number for all, and goes into every export."
    if result.get("cross_fitted"):
        fitted = (
            "It was fitted on all validation images, stays 1 where that is not sure to help, and goes into every "
            "export. For the figures here, each part of the images had one that was fitted on the other parts."
        )
    right.caption(f"Temperature {result['temperature']:.2f}: the logits are divided by it. {fitted}")


def show_curves(shown: Shown) -> None:
    curves = [curve for curve in shown.curves() or [] if curve["roc"]]
    if not curves:
        return
    st.subheader("One class against the rest")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control("Curve", [ROC, PR], default=ROC, required=True, key="curve-kind")
        names = [curve["class"] for curve in curves]
        chosen = st.multiselect(
            "Classes",
            names,
            default=names[:FEW_CLASSES],
            max_selections=FEW_CLASSES,
            key=f"curve-classes-{shown.run.id}",
            placeholder="Choose classes",
            width=600,  # on a phone a row of its own
        )
    which, area = ("roc", "auc") if kind == ROC else ("pr", "average_precision")
    lines = {
        curve["class"]: (curve[which], curve[area])
        for curve in curves
        if curve["class"] in (chosen or names[:FEW_CLASSES])
    }
    show_chart(
        charts.one_against_rest,
        lines,
        kind == ROC,
        state.is_dark(),
        alt=f"{kind} of {', '.join(lines)}: " + ", ".join(f"{name} {area:.3f}" for name, (_, area) in lines.items()),
    )
    mean = sum(curve[area] for curve in curves) / len(curves)
    what = "area under the curve (AUC)" if kind == ROC else "average precision"
    st.caption(f"Mean {what} of {count(len(curves), 'class', 'classes')}: {mean:.3f}. Of each: in the table below.")


def show_classes(shown: Shown) -> None:
    st.subheader("Class by class")
    rows = shown.result()["per_class"]
    st.dataframe(
        [
            {
                "Class": row["class"],
                "Precision": 100 * row["precision"],
                "Recall": 100 * row["recall"],
                "95 % interval": interval_text(row.get("recall_interval")),
                "F1": 100 * row["f1"],
            }
            | ({"AUC": row["auc"]} if "auc" in row else {})
            | {"Images": row["support"]}
            for row in rows
        ],
        hide_index=True,
        column_config={
            "Precision": st.column_config.NumberColumn(
                format="%.1f %%", help="Of the pictures the model called this, how many were."
            ),
            "Recall": st.column_config.NumberColumn(
                format="%.1f %%", help="Of the pictures that are this, how many the model found."
            ),
            "95 % interval": st.column_config.TextColumn(help="Of the recall, by Wilson."),
            "F1": st.column_config.NumberColumn(format="%.1f %%", help="The harmonic mean of precision and recall."),
            "AUC": st.column_config.NumberColumn(format="%.3f", help="Area under the ROC curve against the rest."),
            "Images": st.column_config.NumberColumn("Images (support)"),
        },
        alt="Precision, recall, F1, AUC and number of validation images of every class.",
    )


def interval_text(interval: list[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"
