"""What a run needs of the machine that trains it, and whether this one has it. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.jobs.device import has_gpu
from learner.jobs.memory import total_memory
from learner.models.weights import weights_at_hand
from learner.recipe.backbones import known_backbone
from learner.store import Store
from learner.workspace import Workspace

GB = 1e9


@dataclass(frozen=True)
class Lack:
    """Why this machine should not take a run."""

    what: str
    """In a few words, as in `a GPU`."""
    is_final: bool = True
    """Else it takes the run where every other worker lacks something, too: what is missing may be had from the hub, and
    if not, the run says so."""


def lack_of(recipe: dict[str, Any], workspace: Workspace) -> Lack | None:
    """What this machine lacks for a run of that recipe; None where it can train it."""
    if recipe.get("device") == "gpu" and not has_gpu():
        return Lack("a GPU")
    memory = recipe.get("memory") or 0
    if memory * GB > total_memory():
        return Lack(f"{memory:g} GB of memory")
    weights, arch = recipe["weights"], recipe["backbone"]
    if weights == "auto":
        known = known_backbone(arch)
        if known is not None and arch not in weights_at_hand(workspace):
            return Lack(f"the weights of {known.label}", is_final=False)
    elif weights != "random" and not weights.startswith("run:") and not Path(weights).is_file():
        return Lack(f"the file {Path(weights).name}", is_final=False)
    return None


def why_it_waits(store: Store, run_id: int) -> str | None:
    """A sentence where no worker that is running can take the run."""
    lacks = store.workers.lacks(run_id)
    if not lacks:
        return None
    return (
        f"No worker that is running has {' or '.join(lacks)}, which this run needs. Start a worker on a machine that "
        "does, or train without asking for it."
    )
