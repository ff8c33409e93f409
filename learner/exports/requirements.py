"""The exact versions that a `learner.pkl` was written with, as pip reads them. Needs no torch."""

import platform
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OPENED_WITH = ("fastai", "timm")


def requirements() -> str:
    """The text of a `requirements.txt`: fastai, timm, and whatever these need on any system, each in this version."""
    lines = [f"{name}=={found.partition('+')[0]}" for name, found in sorted(_needed().items())]
    heading = f"# What this learner.pkl was written with, under Python {platform.python_version()}."
    return "\n".join([heading, *lines]) + "\n"


def _needed() -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = list(OPENED_WITH)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra's, or another system's
        for line in requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None:  # others depend on the system, or are extras: pip knows best
                waiting.append(requirement.name)
    return found
