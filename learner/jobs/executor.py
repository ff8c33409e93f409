"""What a worker hands its runs to: this machine, one at a time, or a Ray cluster; `EXECUTOR` says which."""

import importlib.util
import os
from dataclasses import dataclass

from learner.errors import ThawError
from learner.jobs.process import TRAINING

SETTING = "EXECUTOR"
INSTALL_RAY = "pip install '.[ray]'"


@dataclass(frozen=True)
class Executor:
    """How a worker starts a run."""

    module: str
    """Of the process that it starts for one: the run's own, or one that watches it in a cluster."""
    in_cluster: bool = False
    """Whether the cluster gives out devices, to several runs at a time. Else the worker trains one on this machine."""


EXECUTORS = {"local": Executor(TRAINING), "ray": Executor("learner.jobs.ray_executor", in_cluster=True)}


def chosen_executor() -> Executor:
    """What `EXECUTOR` names; this machine where it names nothing. Raises ThawError for what is not there."""
    name = os.environ.get(SETTING, "").strip() or "local"
    if name not in EXECUTORS:
        raise ThawError(f"{SETTING} is {name!r}; it should be {' or '.join(EXECUTORS)}.")
    if name == "ray" and not has_ray():
        raise ThawError(
            f"{SETTING}=ray needs Ray, which is not installed. Install Thaw with it: {INSTALL_RAY}; or unset "
            f"{SETTING}, so that this machine trains."
        )
    return EXECUTORS[name]


def has_ray() -> bool:
    """Whether Ray is installed."""
    try:
        return importlib.util.find_spec("ray") is not None
    except ImportError:
        return False
