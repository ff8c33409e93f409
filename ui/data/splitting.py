"""Which pictures are learnt from, which check, which test; and how many leaks grouping prevents."""

import streamlit as st

from learner.datasets.editing import Edit, declare_groups, keep_split
from learner.datasets.grouping import components
from learner.datasets.splits import Split, describe_split, draw_test_set, has_own_split
from learner.recipe import Recipe
from learner.wording import count
from ui import state
from ui.data.pictures import done
from ui.data.working import Working
from ui.frame import telling_errors

SHARES = {0.1: "10 %", 0.15: "15 %", 0.2: "20 %", 0.25: "25 %", 0.3: "30 %"}


def show_split(working: Working) -> None:
    """The split that a new recipe would get, drawn again with every setting; and what fixes it for good."""
    usual = Recipe(working.name)
    fixed = has_own_split([row for row in working.rows if not row.excluded])
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    fraction, seed, folds = usual.valid_fraction, usual.seed, 0
    if fixed:
        st.markdown("The data set has validation images of its own, so every recipe uses those.")
    else:
        fraction = left.selectbox("Validation share", list(SHARES), index=2, format_func=SHARES.__getitem__)
        seed = int(middle.number_input("Seed", 0, 2**32 - 1, usual.seed, help="Another seed draws another split."))
        folds = int(
            right.number_input(
                "Folds", 0, 20, 0, help="0: one split. 2 or more: every image checks exactly once, in turn."
            )
        )
    splits = _splits(working.state, seed, fraction, folds, working)
    show_leaks(working, splits[0] if not folds else None)
    show_grouping(working)
    show_sides(splits)
    if not fixed:
        if folds:
            st.caption(f"In a recipe: `folds: {folds}`, and `fold: 1` to `fold: {folds}`, one run each.")
        elif (fraction, seed) != (usual.valid_fraction, usual.seed):
            st.caption(f"In a recipe: `valid_fraction: {fraction}`, `seed: {seed}`.")
    show_test_set(working, seed)
    if not fixed and not folds:
        show_fixing(working, splits[0])


@state.cached(st.cache_resource, max_entries=8, show_spinner=False)
def _splits(state: str, seed: int, fraction: float, folds: int, _working: Working) -> list[Split]:
    numbers = range(1, max(folds, 1) + 1)
    return [describe_split(_working.rows, seed, fraction, folds=folds, fold=fold) for fold in numbers]


def show_leaks(working: Working, split: Split | None) -> None:
    groups = [group for group in components(row for row in working.rows if not row.excluded) if len(group) > 1]
    if not groups:
        st.markdown("No near duplicates and no declared groups: every image is drawn by itself.")
        return
    members = sum(map(len, groups))
    told = f"{count(members, 'image')} in {count(len(groups), 'group')}"
    st.markdown(f"{told} stay together (near duplicates or declared).")
    if split is None:
        return
    if split.prevented:
        st.success(
            f"Grouping prevents {count(split.prevented, 'leak')}: so many validation images would have had a near "
            "twin among those that are learnt, and the accuracy would have flattered."
        )
    if split.torn:
        st.warning(
            f"{count(split.torn, 'validation image')} still have a near twin in training: their class is little "
            "more than one burst, or the folders that came in say so. Set the twins aside under Checks, or add photos."
        )


def show_grouping(working: Working) -> None:
    """Declare what else belongs together: by a pattern in the path, or by the moment a photo was taken."""
    with st.expander("What else belongs together?"):
        st.caption(
            "Near duplicates are found by themselves. Several images of one patient or part belong together too."
        )
        pattern = st.text_input(
            "Pattern in the path (a regular expression; its first group names what belongs together)",
            placeholder=r"patient(\d+)",
            key=f"group-pattern-{working.key}",
        )
        seconds = st.number_input(
            "Or: photos of one camera taken within so many seconds of each other",
            0,
            86_400,
            0,
            key=f"burst-{working.key}",
        )
        if st.button("Declare these groups", disabled=not (pattern or seconds), key=f"declare-{working.key}"):
            with telling_errors():
                done(working, declare_groups(working.store, working.version, working.rows, pattern, float(seconds)))
        grouped = tuple(row.path for row in working.rows if row.group)
        if grouped and st.button(f"Forget the groups of {count(len(grouped), 'image')}", key=f"forget-{working.key}"):
            done(working, Edit("group", grouped))


def show_sides(splits: list[Split]) -> None:
    rows = []
    for number, split in enumerate(splits, start=1):
        sides = {"Train": split.train, "Valid": split.valid} | ({"Test": split.test} if split.test else {})
        for side, images in sides.items():
            labels = {image.label for image in images}
            row = {"Side": f"Fold {number}: {side}" if len(splits) > 1 else side}
            rows.append(row | {"Images": len(images), "Classes": len(labels)})
    st.dataframe(rows, hide_index=True)


def show_test_set(working: Working, seed: int) -> None:
    st.subheader("Test set")
    tested = [row for row in working.rows if row.split == "test" and not row.excluded]
    if tested:
        st.markdown(
            f"**{count(len(tested), 'image')}** are kept for the last word: no recipe learns from them or chooses by "
            "them. They stay the same in every later version, and what resembles them is kept out of training."
        )
        with st.popover("Give up the test set"):
            st.markdown("Results before and after cannot be compared then. The old versions keep it.")
            if st.button("Give it up", key=f"give-up-{working.key}"):
                done(working, Edit("give_up_test"))
        return
    st.caption(
        "Images that nothing is ever learnt from or chosen by. With one, the accuracy you report is honest even "
        "after many tries. Whole groups are drawn, some of every class."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        share = st.selectbox(
            "Share", list(SHARES), index=2, format_func=SHARES.__getitem__, key="test-share", width=120
        )
        if st.button("Draw a test set", key=f"draw-{working.key}"):
            with telling_errors():
                drawn = draw_test_set(working.rows, seed, share)
                done(working, Edit("move", tuple(row.path for row in drawn), to="test"))


def show_fixing(working: Working, split: Split) -> None:
    st.subheader("Keep this split")
    st.caption("Writes train and valid into the data set, so that every recipe uses this split, whatever its seed.")
    if st.button(f"Keep {len(split.train):,} for training and {len(split.valid):,} for validation"):
        done(working, keep_split(split))
