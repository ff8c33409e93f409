"""The layers of the network as a table, with what learns in each phase. Listing them is another process's work."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from learner.questions.layers import layers_file, learning_parameters, read_layers
from learner.questions.process import ask
from learner.recipe import Recipe
from learner.store import Store
from learner.wording import percent
from ui.names import plain
from ui.questions import show_at_once
from ui.training.fields import key


def show_layers(store: Store, recipe: Recipe, stages: list[str], classes: int) -> None:
    """An expander with the layers of a settled recipe; they are listed when it is opened for the first time."""
    box = st.expander("Layers: shapes, parameters, and what learns", on_change="rerun", key=key("layers"))
    if not box.open:
        return
    with box:
        layers = read_layers(store.workspace, recipe, classes)
        if layers is None:
            file = layers_file(store.workspace, recipe, classes)
            begins = "Building the network once to list its layers, about 8 s"
            failed = "The network could not be built for this table."
            asking = partial(ask, store, "layers", file, recipe)
            show_at_once(file, asking, key="layers again", begins=begins, failed=failed)
            return
        firsts = [phase.first_trainable_group(stages) for phase in recipe.phases]
        said = []
        for phase, first in zip(recipe.phases, firsts, strict=True):
            learning, total = learning_parameters(layers, stages, first)
            said.append(
                f"**{plain(phase.name)}**: {learning:,} of {total:,} parameters learn ({percent(learning / total)})"
            )
        st.markdown("  \n".join(said))
        table = layer_table(layers, [phase.name for phase in recipe.phases], firsts, stages)
        st.dataframe(
            table,
            hide_index=True,
            height=min(38 + 35 * len(table), 460),
            column_config={
                "Parameters": st.column_config.NumberColumn(format="localized"),
                "Output": st.column_config.TextColumn(
                    help=f"Channels × height × width for one image of {recipe.image_size} pixels a side"
                ),
            },
            alt="Layers with their output shapes and parameters, and for each phase whether they learn.",
        )


def layer_table(layers: list[dict[str, Any]], phases: list[str], firsts: list[int], stages: list[str]) -> pd.DataFrame:
    """One row a layer; for each phase, whose lowest learning group is in `firsts`, whether it learns or is frozen."""
    groups = {stage: index for index, stage in enumerate([*stages, "head"])}
    rows = [
        {
            "Part": layer["stage"],
            "Layer": layer["name"],
            "Kind": layer["kind"],
            "Output": " × ".join(str(side) for side in layer["shape"]),
            "Parameters": layer["parameters"],
        }
        | {
            name: "" if not layer["parameters"] else "learns" if groups[layer["stage"]] >= first else "frozen"
            for name, first in zip(_unique(phases), firsts, strict=True)
        }
        for layer in layers
    ]
    return pd.DataFrame(rows)


def _unique(names: list[str]) -> list[str]:
    """Names of columns: phases that are called alike get their number."""
    return [
        f"{name} ({number})" if names.count(name) > 1 or name in ("Part", "Layer", "Kind", "Output") else name
        for number, name in enumerate(names, start=1)
    ]
