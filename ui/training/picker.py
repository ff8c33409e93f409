"""Where a recipe comes from: those that ship, each with what it reproduces, or a person's own file."""

import tempfile
from itertools import takewhile
from pathlib import Path

import streamlit as st

from learner.errors import RecipeError, ThawError
from learner.recipe import AUTO, RECIPES, Recipe, read_recipe, recipe_names
from ui import drafts
from ui.names import plain

MOST_BYTES = 100_000
"""A larger file is no recipe."""
PICKED, UPLOADED = "picked_recipe", "uploaded_recipe"


def recipe_comment(name: str) -> str:
    """What the comment at the head of a shipped recipe says, as one text."""
    lines = (RECIPES / f"{name}.yaml").read_text("utf-8").splitlines()
    return "\n".join(
        line.removeprefix("#").removeprefix(" ") for line in takewhile(lambda line: line[:1] == "#", lines)
    )


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence, on one line."""
    line = " ".join(text.split())
    return line.split(". ")[0].removesuffix(".") + "."


def show_picker(dataset: str) -> None:
    """A select box of recipes, and a way in for a file; a recipe that is used replaces all that the page shows."""
    left, right, third = st.columns([3, 1, 1], vertical_alignment="bottom")
    name = left.selectbox(
        "Start from a recipe",
        [name for name in recipe_names() if name != AUTO],
        index=None,
        placeholder="Choose one of the methods that ship with Thaw, or set everything yourself below",
        key=PICKED,
    )
    right.button(
        "Use this recipe", on_click=_use, args=(name, dataset), disabled=name is None, width="stretch", key="use_recipe"
    )
    with third.popover("From a file", width="stretch"):
        _upload(dataset)
    if name:
        comment = recipe_comment(name)
        st.caption(first_sentence(comment))
        with st.popover("What it reproduces, and which data set it wants", type="tertiary"):
            st.markdown(_as_markdown(comment))


def _as_markdown(comment: str) -> str:
    """Indented lines are commands; a line that begins a new thought begins a paragraph."""
    text = ""
    for line in comment.splitlines():
        if line.startswith("    "):
            text += f"\n\n`{line.strip()}`\n\n"
        else:
            text += ("\n\n" if line.startswith(("Data set", "Published", "What differs", "Medical")) else " ") + line
    return text


def _use(name: str, dataset: str) -> None:
    drafts.put_on_train(read_recipe(name, dataset))


def _upload(dataset: str) -> None:
    file = st.file_uploader(
        "A recipe (YAML)",
        type=["yaml", "yml"],
        max_upload_size=1,
        key=UPLOADED,
        help="As this page writes it at its end. Its data set does not matter: the one chosen here is used.",
    )
    if file is None:
        return
    try:
        recipe = read_upload(file.getvalue(), file.name, dataset)
    except RecipeError as error:
        told = "".join(f"\n- {plain(problem)}" for problem in error.problems)
        st.error(f"{plain(file.name)} cannot be used:{told}")
        return
    except ThawError as error:
        st.error(plain(str(error)))
        return
    if recipe.budget:
        st.info("This recipe leaves the choice to Thaw. Use *Let Thaw choose* for that; here phases are set by hand.")
    st.button("Use this file", on_click=drafts.put_on_train, args=(recipe,), type="primary", key="use_file")


def read_upload(content: bytes, name: str, dataset: str) -> Recipe:
    """The recipe in an uploaded file, for `dataset`. Raises RecipeError."""
    if len(content) > MOST_BYTES:
        raise RecipeError([f"recipe: it is larger than {MOST_BYTES // 1000} kB, so it is no recipe"], name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "uploaded.yaml"
        path.write_bytes(content)
        return read_recipe(str(path), dataset)
