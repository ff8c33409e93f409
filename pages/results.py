"""Results: how good a run's model is, what it gets wrong, and the model to take away."""

from pathlib import Path

import streamlit as st

from learner.datasets import thumbnail_path
from learner.recipe import Recipe
from learner.results import load_predictions, load_result, most_wrong
from learner.speed import RunPlan
from learner.store import Run, Store
from learner.words import count, duration, file_size, percent, percent_with_interval
from ui import charts, plans, state
from ui.components import Picture, picture_grid, show_strip
from ui.frame import empty, next_step, page

WRONG_SHOWN = 24
PERCENT, COUNTS = "Per cent of the true class", "Counts"


def show_page() -> None:
    store = state.get_store()
    runs = [run for run in store.runs.all() if run.status in ("finished", "stopped") and has_result(store, run)]
    if not runs:
        empty("**No results yet.** They appear here when a run has finished or was stopped.", "train", "Plan a run")
        return
    run = state.choose_run(runs, "Run")
    folder = store.workspace.run_folder(run.id)
    result = load_result(folder)
    st.metric(
        f"Accuracy on {count(result['images'], 'validation image')}",
        percent_with_interval(result["accuracy"], result["accuracy_interval"]),
    )
    st.caption(
        f"In brackets: the 95 % interval (Wilson). From the best checkpoint, after epoch {run.best_epoch}. It was "
        "chosen on these same images, so expect slightly less on new photos."
    )
    show_downloads(folder, run)
    next_step("predict", "Try it on new pictures", primary=False)
    show_confusion(result)
    show_classes(result)
    show_most_wrong(store, run, folder)
    show_training(run)


def has_result(store: Store, run: Run) -> bool:
    return load_result(store.workspace.run_folder(run.id)) is not None


def show_downloads(folder: Path, run: Run) -> None:
    with st.container(horizontal=True):
        for name, kind in (("learner.pkl", "primary"), ("model.safetensors", "secondary")):
            path = folder / name
            if path.exists():
                st.download_button(
                    f"Download {name} ({file_size(path.stat().st_size)})",
                    data=path.read_bytes,  # called on the click, so that no page holds the file in memory
                    file_name=name,
                    mime="application/octet-stream",
                    type=kind,
                    on_click="ignore",
                    key=f"{name}-{run.id}",
                )
    st.caption(
        "learner.pkl opens with plain fastai: `load_learner('learner.pkl').predict('photo.jpg')`. It is a pickle: "
        "share it with people who trust you. model.safetensors is the safe form, for Thaw itself."
    )


def show_confusion(result: dict) -> None:
    st.subheader("Confusion matrix")
    shown = st.segmented_control("Show", [COUNTS, PERCENT], default=COUNTS, label_visibility="collapsed")
    st.altair_chart(
        charts.confusion(result["confusion"], result["classes"], as_percent=shown == PERCENT),
        width="content" if len(result["classes"]) < 8 else "stretch",
        alt="Confusion matrix: rows are the true classes, columns the predicted ones.",
    )
    st.caption("Rows are what a picture shows, columns what the model said. Right answers lie on the diagonal.")


def show_classes(result: dict) -> None:
    st.subheader("Class by class")
    st.dataframe(
        [
            {
                "Class": row["class"],
                "Precision": 100 * row["precision"],
                "Recall": 100 * row["recall"],
                "F1": 100 * row["f1"],
                "Images": row["support"],
            }
            for row in result["per_class"]
        ],
        hide_index=True,
        column_config={
            "Precision": st.column_config.NumberColumn(
                format="%.1f %%", help="Of the pictures the model called this, how many were."
            ),
            "Recall": st.column_config.NumberColumn(
                format="%.1f %%", help="Of the pictures that are this, how many the model found."
            ),
            "F1": st.column_config.NumberColumn(format="%.1f %%", help="The harmonic mean of precision and recall."),
            "Images": st.column_config.NumberColumn("Images (support)"),
        },
        alt="Precision, recall, F1 and number of validation images of every class.",
    )


def show_most_wrong(store: Store, run: Run, folder: Path) -> None:
    st.subheader("Most wrong")
    predictions = load_predictions(folder)
    wrong = most_wrong(predictions, WRONG_SHOWN)
    if wrong.empty:
        st.markdown("Every validation image was predicted right.")
        return
    total = int((predictions["label"] != predictions["predicted"]).sum())
    st.caption(f"{count(total, 'validation image')} of {len(predictions):,} wrong; those it was surest of come first.")
    name, _ = store.runs.dataset_of(run)
    images = store.datasets.images_by_id(wrong["image_id"].tolist())
    picture_grid(
        [
            Picture(
                thumbnail_path(store.workspace, name, images[row.image_id]),
                f"✕ said {row.predicted}, {percent(row.probability)}\nis {row.label}",
                f"{row.path}: labelled {row.label}, predicted {row.predicted}",
            )
            for row in wrong.itertuples()
        ]
    )


def show_training(run: Run) -> None:
    st.subheader("What was trained")
    plan = RunPlan.from_facts(run.facts)
    how = f" Computed in {plan.precision}, {plans.kept_text(plan)}." if plan else ""
    took = duration(run.finished_at - run.started_at)
    st.caption(
        f"{run.facts['backbone']} at {run.facts['image_size']} px. {run.facts['weights']['reason']}{how} Took {took}."
    )
    for phase, rates in zip(Recipe.from_dict(run.recipe).phases, run.facts["rates"], strict=True):
        st.markdown(f"**{phase.name}**, {count(phase.epochs, 'epoch')}")
        show_strip(run.facts["stages"], rates, finished=True)


with page("results", "How good the model is, what it gets wrong, and the files to take away."):
    show_page()
