"""The backbone and where its weights come from, on the Train page."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from learner.errors import ThawError
from learner.models.weights import WeightsSource, choose_backbone
from learner.recipe.backbones import KNOWN_BACKBONES, KnownBackbone, known_backbone
from learner.store import Store
from ui import state
from ui.names import plain
from ui.training.fields import HELP, NAMES, Fields, key

AUTO, RANDOM, RUN, FILE = "auto", "random", "run", "file"
LABELS = {known.arch: known.label for known in KNOWN_BACKBONES}
KINDS = {
    AUTO: "Automatic (ImageNet)",
    RUN: "The body of another run",
    FILE: "A file",
    RANDOM: "None: start from nothing (random)",
}
VGG16_FILE = "vgg16.safetensors"


@dataclass
class Chosen:
    """A backbone and weights as a recipe has them, and what comes of them here."""

    backbone: str
    weights: str
    arch: str | None
    """The architecture; none where no weights can be had."""
    settled_weights: str
    """`weights`, with the run's number where a data set was named."""

    @property
    def known(self) -> KnownBackbone | None:
        """Its stages, as far as a page can know them."""
        return known_backbone(self.arch or self.backbone)


def choose_weights(store: Store, draft: dict[str, Any], fields: Fields, left, right, below, fixed: bool) -> Chosen:
    """Two select boxes, and `below` them which weights will be used and why. `fixed` ones cannot be changed."""
    archs = [AUTO, *LABELS]
    archs += [draft["backbone"]] if draft["backbone"] not in archs else []
    backbone = fields.at("backbone", left).selectbox(
        NAMES["backbone"],
        archs,
        index=archs.index(draft["backbone"]),
        format_func=lambda arch: "Automatic" if arch == AUTO else LABELS.get(arch, arch),
        help=HELP["backbone"],
        key=key("backbone"),
        disabled=fixed,
    )
    weights = _edit_weights(store, draft["weights"], fields.at("weights", right), fixed)
    if fixed:
        return Chosen(backbone, weights, _arch_of_run(store, st.session_state[state.PARENT][0]), weights)
    if weights.startswith("run:"):
        return _of_run(store, backbone, weights, below)
    found = find_backbone(backbone, weights, str(store.workspace.root))
    if isinstance(found, str):
        below.error(plain(found))
        return Chosen(backbone, weights, None, weights)
    arch, source = found
    line = below.container(horizontal=True, vertical_alignment="center")
    told = plain(source.reason) if backbone != AUTO else f"**{LABELS.get(arch, arch)}.** {plain(source.reason)}"
    line.caption(told, width="content")
    if source.tried:
        with line.popover("Why, and how to change that", type="tertiary"):
            st.markdown(
                f"To train VGG16, put a file of its ImageNet weights, `{VGG16_FILE}`, into "
                f"`{store.workspace.weights}`, or start Thaw with a way to the internet. What was tried:"
            )
            st.text("\n".join(f"– {place_tried}" for place_tried in source.tried))
    return Chosen(backbone, weights, arch, weights)


@state.cached(st.cache_data, ttl="5m", show_spinner="Looking for pretrained weights")
def find_backbone(backbone: str, weights: str, workspace_root: str) -> tuple[str, WeightsSource] | str:
    """Which backbone and weights there are, or why none. Asking the hub takes up to 10 s, so it is kept a while."""
    try:
        return choose_backbone(backbone, weights, state.get_store().workspace)
    except ThawError as error:
        return str(error)


def _edit_weights(store: Store, draft: str, place, fixed: bool) -> str:
    """The recipe's `weights`."""
    was = draft if draft in (AUTO, RANDOM) else RUN if draft.startswith("run:") else FILE
    kind = place.selectbox(
        NAMES["weights"],
        list(KINDS),
        index=list(KINDS).index(was),
        format_func=KINDS.get,
        help=HELP["weights"],
        key=key("weights"),
        disabled=fixed,
    )
    if kind == FILE:
        return place.text_input(
            "Path of the weight file, where Thaw runs",
            draft if was == FILE else "",
            placeholder="/home/me/vgg16.safetensors",
            key=key("weights_file"),
            disabled=fixed,
        ).strip()
    if kind == RUN:
        options = _bodies(store)
        options |= {draft: f"The newest run on {draft[4:]} (none yet)"} if was == RUN and draft not in options else {}
        return (
            place.selectbox(
                "Whose body",
                list(options),
                index=list(options).index(draft) if draft in options else 0 if options else None,
                format_func=options.get,
                key=key("weights_run"),
                placeholder="No run has finished yet",
                disabled=fixed or not options,
            )
            or "run:"
        )
    return kind


def _bodies(store: Store) -> dict[str, str]:
    """What can be named after `run:`, with words for it: finished runs, and the newest one of each data set."""
    finished = [run for run in store.runs.all() if run.status == "finished"]
    names = dict.fromkeys(store.runs.dataset_of(run)[0] for run in finished)
    return {f"run:{run.id}": state.run_label(run) for run in finished} | {
        f"run:{name}": f"The newest run on {name}" for name in names
    }


def _of_run(store: Store, backbone: str, weights: str, place) -> Chosen:
    """Another run's body: the run has to be there, and its network to be the one that was chosen."""
    name = weights.removeprefix("run:")
    try:
        run = store.runs.get(int(name)) if name.isdecimal() else store.newest_finished(name)
        store.checkpoint(run.id)
    except ThawError as error:
        place.error(plain(str(error)) if name else "No run has finished yet. Train one first, or choose other weights.")
        return Chosen(backbone, weights, None, weights)
    arch: str = run.facts["backbone"]
    if backbone not in (AUTO, arch):
        place.error(f"Run {run.id} trained {plain(LABELS.get(arch, arch))}. Choose that as the backbone, or Automatic.")
        return Chosen(backbone, weights, None, weights)
    place.caption(f"**{plain(LABELS.get(arch, arch))}**, as run {run.id} has trained it, with a new head.")
    return Chosen(backbone, weights, arch, f"run:{run.id}")


def _arch_of_run(store: Store, run_id: int) -> str | None:
    try:
        return store.runs.get(run_id).facts.get("backbone")
    except ThawError:
        return None
