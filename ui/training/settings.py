"""The settings of a recipe that most people never touch, folded away on the Train page."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from learner.recipe import SOLVABLE, Augment, Recipe
from learner.wording import count
from ui.training.fields import HELP, NAMES, Fields, key

HEADS = {
    "multiscale": "Two poolings of two maps (solved)",
    "solved": "Two poolings, one layer (solved)",
    "fastai": "fastai: two poolings, a layer of 512",
    "fc": "Layers of your own (fc)",
    "linear": "One layer (linear)",
    "attention": "Learns where to look (attention)",
}
POOLS = {"average": "The mean over the picture (average)", "flatten": "All of it, place by place (flatten)"}
LOSSES = {"cross_entropy": "Cross entropy", "focal": "Focal loss"}
BALANCES = {
    "none": "Nothing",
    "weights": "Small classes count more (class weights)",
    "oversample": "Small classes are shown more often (oversampling)",
}
FOLDS = {"valid": "It validates", "test": "It only judges the finished model"}
MIXES = {"none": "No", "mixup": "Blends of both (MixUp)", "cutmix": "A piece of the other (CutMix)"}
PRECISIONS = {
    "auto": "Automatic",
    "fp32": "fp32: 32 bits, slow and exact",
    "bf16": "bf16: 16 bits, wide range",
    "fp16": "fp16: 16 bits, fine steps",
}
DEVICES = {"auto": "Any", "gpu": "One with a GPU"}
CACHES = {"auto": "Automatic: where it is faster", "on": "On, for every phase", "off": "Off"}
GROUPS = ("Random changes", "Head", "Optimizer & loss", "Mixing", "Split & repeats", "Machine")
FLIPS = ("flip_horizontal", "flip_vertical", "quarter_turns")


def edit_more(draft: dict[str, Any], fields: Fields, versions: Sequence[int], fixed_head: bool) -> dict[str, Any]:
    """The folded settings as they stand in `draft`, to be changed; returns those keys of a recipe.

    `versions` are the numbers of the data set's versions. With `fixed_head` the head cannot be changed.
    """
    with st.expander("More: random changes to the images, head, loss, mixing, split, machine"):
        changes, head, loss, mixing, split, machine = st.tabs(GROUPS)
        with changes:
            values = _edit_augment(draft, fields)
        with head:
            values |= {"head": _edit_head(draft["head"], fields, fixed_head)}
        with loss:
            values |= _edit_loss(draft, fields)
        with mixing:
            values |= _edit_mixing(draft, fields)
        with split:
            values |= _edit_split(draft, fields, versions)
        with machine:
            st.caption("How it is computed. This changes how long training takes, and next to nothing else.")
            left, middle, right = st.columns(3)
            values["precision"] = choose(fields, left, "precision", PRECISIONS, draft["precision"])
            values["cache"] = choose(fields, middle, "cache", CACHES, draft["cache"])
            values["workers"] = int(_number(fields, right, "workers", 1, 64, draft["workers"], 1))
            values["device"] = choose(fields, left, "device", DEVICES, draft["device"])
            values["memory"] = float(_number(fields, middle, "memory", 0.0, 1e5, float(draft["memory"]), 1.0))
    changed = changed_settings(values)
    if changed:
        st.caption(f"Set under *More*: {', '.join(changed)}.")
    return values


def choose(fields: Fields, where, path: str, options: dict[str, str], value: str, **how: Any) -> str:
    """A select box for the key `path` of a recipe."""
    name = path.rpartition(".")[2]
    return fields.at(path, where).selectbox(
        NAMES[name],
        list(options),
        index=list(options).index(value),
        format_func=options.__getitem__,
        help=HELP[name],
        key=key(name),
        **how,
    )


def _number(fields: Fields, where, path: str, low: float, high: float, value: float, step: float, **how: Any) -> Any:
    """A number for the key `path`; whole where `step` is."""
    name = path.rpartition(".")[2]
    how = {"help": HELP.get(name), "format": "%d" if isinstance(step, int) else "%g"} | how
    return fields.at(path, where).number_input(NAMES[name], low, high, value, step=step, key=key(name), **how)


def _per_cent(fields: Fields, where, path: str, high: float, share: float, **how: Any) -> float:
    """A share, as a number of per cent; what was given comes back to the last digit."""
    shown = round(100 * share, 9)
    per_cent = _number(fields, where, path, 0.0, high, shown, 5.0, **how)
    return share if per_cent == shown else round(per_cent / 100, 11)


def _edit_augment(draft: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """Augmentation and views."""
    st.caption(
        "They make a small data set go further (augmentation). Choose only what could happen to a new picture too: a "
        "mirrored cat is a cat, a mirrored letter may be another one."
    )
    usual = asdict(Augment()) | draft["augment"]
    if st.checkbox(NAMES["auto"], usual["auto"], help=HELP["auto"], key=key("auto")):
        views = _number(fields, st.columns(4)[0], "views", 0, 64, draft["views"], 1)
        return {"augment": asdict(Augment(auto=True)), "views": int(views)}
    augment: dict[str, Any] = {"auto": False}
    with st.container(horizontal=True):
        for name in FLIPS:
            augment[name] = st.checkbox(NAMES[name], usual[name], help=HELP[name], key=key(name))
    first, second, third, fourth = st.columns(4)
    least, most = Augment(**usual).zoom_range
    augment["rotate"] = _number(fields, first, "augment.rotate", 0.0, 180.0, float(usual["rotate"]), 5.0)
    augment["shift"] = _per_cent(fields, second, "augment.shift", 50.0, usual["shift"])
    augment["shear"] = _per_cent(fields, third, "augment.shear", 100.0, usual["shear"])
    augment["lighting"] = _per_cent(fields, fourth, "augment.lighting", 90.0, usual["lighting"])
    first, second, third, _ = st.columns(4)
    below = "Below 1 the picture is shown smaller, with its mirror image around it."
    least = _number(fields, first, "augment.least_zoom", 0.2, 3.0, float(least), 0.1, help=below)
    most = _number(fields, second, "augment.zoom", 0.2, 3.0, float(most), 0.1)
    augment["zoom"] = most if least == 1 else [least, most]
    changes = any(augment[name] for name in augment if name != "zoom") or augment["zoom"] != 1
    views = _number(fields, third, "views", 0, 64, draft["views"], 1, disabled=not changes)
    return {"augment": augment, "views": int(views)}


def _edit_head(draft: dict[str, Any], fields: Fields, fixed: bool) -> dict[str, Any]:
    st.caption(
        "The new classifier on top of the network. Touch it to repeat published work, to train faster (one layer), or "
        "to see where the network looks (attention)."
    )
    left, right = st.columns(2)
    kind = choose(fields, left, "head.kind", HEADS, draft["kind"], disabled=fixed)
    has_layers = kind in ("fc", "attention")
    widths = fields.at("head.widths", right).text_input(
        NAMES["widths"],
        ", ".join(str(width) for width in draft["widths"]),
        help=f"{HELP['widths']} Numbers with commas between them, from the body to the classes.",
        key=key("widths"),
        disabled=fixed or not has_layers,
    )
    left, right = st.columns(2)
    dropout = _per_cent(
        fields,
        left,
        "head.dropout",
        100.0,
        draft["dropout"],
        help=HELP["dropout"],
        disabled=fixed or kind in SOLVABLE,
    )
    pool = choose(fields, right, "head.pool", POOLS, draft["pool"], disabled=fixed or kind != "fc")
    texts = [text.strip() for text in widths.split(",") if text.strip()]
    return {
        "kind": kind,
        "widths": [int(text) if text.isascii() and text.isdecimal() else text for text in texts],
        "dropout": dropout,
        "pool": pool,
    }


def _edit_loss(draft: dict[str, Any], fields: Fields) -> dict[str, Any]:
    st.caption(
        "What counts as a mistake, and how much. Optimizer, momentum and weight decay may differ from phase to phase: "
        "they stand in the table of phases, under *More columns*."
    )
    left, right = st.columns(2)
    values: dict[str, Any] = {
        "balance": choose(fields, left, "balance", BALANCES, draft["balance"]),
        "label_smoothing": _per_cent(fields, right, "label_smoothing", 100.0, draft["label_smoothing"]),
    }
    left, right = st.columns(2)
    values["loss"] = choose(fields, left, "loss", LOSSES, draft["loss"])
    values["focal_gamma"] = _number(
        fields, right, "focal_gamma", 0.0, 10.0, float(draft["focal_gamma"]), 0.5, disabled=values["loss"] != "focal"
    )
    left, right = st.columns(2)
    values["clip_norm"] = _number(fields, left, "clip_norm", 0.0, 1000.0, float(draft["clip_norm"]), 0.5)
    values["accumulate"] = int(_number(fields, right, "accumulate", 1, 256, draft["accumulate"], 1))
    return values


def _edit_mixing(draft: dict[str, Any], fields: Fields) -> dict[str, Any]:
    st.caption("Training on two images at once. Touch it when a long training learns its images by heart.")
    left, right = st.columns(2)
    mix = choose(fields, left, "mix", MIXES, draft["mix"])
    alpha = _number(fields, right, "mix_alpha", 0.0, 10.0, float(draft["mix_alpha"]), 0.1, disabled=mix == "none")
    return {"mix": mix, "mix_alpha": alpha}


def _edit_split(draft: dict[str, Any], fields: Fields, versions: Sequence[int]) -> dict[str, Any]:
    """What is kept for validation, where the data set does not say so itself; and how often all of it runs."""
    st.caption(
        "Which images check the model, and what chance may do. Touch it to compare runs fairly: the same seed splits "
        "the same way, and several repeats or folds show how much of a difference is luck."
    )
    first, second, third, fourth = st.columns(4)
    folds = int(_number(fields, second, "folds", 0, 20, draft["folds"], 1))
    fold = int(_number(fields, third, "fold", 1, 20, draft["fold"], 1, disabled=not folds))
    fold_is = choose(fields, fourth, "fold_is", FOLDS, draft["fold_is"], disabled=not folds)
    validates = bool(folds) and fold_is == "valid"
    share = _per_cent(fields, first, "valid_fraction", 50.0, draft["valid_fraction"], disabled=validates)
    seed_at, first, second, third = st.columns([1, 1, 1, 2], vertical_alignment="bottom")
    seed = int(_number(fields, seed_at, "seed", 0, 2**32 - 1, draft["seed"], 1))
    return {
        "valid_fraction": share,
        "seed": seed,
        "folds": folds,
        "fold": fold if folds else 1,
        "fold_is": fold_is if folds else "valid",
        "repeats": int(_number(fields, first, "repeats", 1, 20, draft["repeats"], 1)),
        "version": fields.at("version", second).selectbox(
            NAMES["version"],
            [None, *versions],
            index=[None, *versions].index(draft["version"] if draft["version"] in versions else None),
            format_func=lambda number: "The newest" if number is None else str(number),
            help=HELP["version"],
            key=key("version"),
        ),
        "grouped": third.checkbox(NAMES["grouped"], draft["grouped"], help=HELP["grouped"], key=key("grouped")),
        "refit": third.checkbox(
            NAMES["refit"], draft["refit"], help=HELP["refit"], key=key("refit"), disabled=validates
        ),
    }


def changed_settings(values: dict[str, Any]) -> list[str]:
    """What differs from a new recipe, in words."""
    said = [values["precision"]] if values["precision"] != "auto" else []
    said += [f"cache {values['cache']}"] if values["cache"] != "auto" else []
    said += ["only on a GPU"] if values["device"] == "gpu" else []
    said += [f"{values['memory']:g} GB of memory"] if values["memory"] else []
    said += [f"{values['workers']} processes"] if values["workers"] != 1 else []
    return said + _changed_training(values) + _changed_split(values) + _changed_images(values)


def _share(share: float) -> str:
    return f"{100 * share:g} %"


def _changed_training(values: dict[str, Any]) -> list[str]:
    usual, head = Recipe("any").to_dict(), values["head"]
    said = []
    if head != usual["head"]:
        widths = f" {'-'.join(str(width) for width in head['widths'])}" if head["kind"] in ("fc", "attention") else ""
        flat = ", flattened" if head["kind"] == "fc" and head["pool"] == "flatten" else ""
        dropout = f", dropout {_share(head['dropout'])}" if head["kind"] not in SOLVABLE else ""
        said.append(f"{head['kind']} head{widths}{flat}{dropout}")
    words = {
        "balance": "class weights" if values["balance"] == "weights" else "oversampling",
        "loss": f"focal loss ({values['focal_gamma']:g})",
        "label_smoothing": f"labels smoothed by {_share(values['label_smoothing'])}",
        "clip_norm": f"gradients up to {values['clip_norm']:g}",
        "accumulate": f"{values['accumulate']} batches a step",
        "mix": {"mixup": "MixUp", "cutmix": "CutMix"}.get(values["mix"], ""),
    }
    return said + [text for name, text in words.items() if values[name] != usual[name]]


def _changed_split(values: dict[str, Any]) -> list[str]:
    held_back = " held back" if values["fold_is"] == "test" else ""
    said = [f"fold {values['fold']} of {values['folds']}{held_back}"] if values["folds"] else []
    said += (
        []
        if values["valid_fraction"] == 0.2 or (values["folds"] and values["fold_is"] == "valid")
        else [f"{_share(values['valid_fraction'])} for validation"]
    )
    said += [] if values["seed"] == 42 else [f"seed {values['seed']}"]
    said += [] if values["repeats"] == 1 else [f"{values['repeats']} repeats"]
    said += [] if values["version"] is None else [f"version {values['version']} of the data"]
    said += [] if values["refit"] == Recipe("any").refit else ["refit" if values["refit"] else "no refit"]
    return said + ([] if values["grouped"] else ["split without groups"])


def _changed_images(values: dict[str, Any]) -> list[str]:
    augment = values["augment"]
    if augment["auto"]:
        return ["changes as a quick trial says"]
    said = [NAMES[name].lower() for name in FLIPS if augment[name]]
    said += [f"turns up to {augment['rotate']:g}°"] if augment["rotate"] else []
    said += [f"moved up to {_share(augment['shift'])}"] if augment["shift"] else []
    said += [f"slanted up to {_share(augment['shear'])}"] if augment["shear"] else []
    zoom = augment["zoom"]
    if isinstance(zoom, list):
        said.append(f"enlarged {zoom[0]:g} to {zoom[1]:g} times")
    elif zoom != 1:
        said.append(f"enlarged up to {zoom:g} times")
    said += [f"light up to {_share(augment['lighting'])}"] if augment["lighting"] else []
    if said:
        views = values["views"]
        said.append(f"{count(views, 'copy', 'copies')} of an image" if views else "changed anew in every epoch")
    return said
