"""How long tests wait for what has to happen: a busy machine may be slow, and what never happens shows all the same."""

import time
from collections.abc import Callable
from typing import TypeVar

GIVE_UP_S = 300
T = TypeVar("T")


def until(condition: Callable[[], T], every_s: float = 0.05) -> T:
    """What `condition` returns once that is truthy."""
    end = time.monotonic() + GIVE_UP_S
    while not (found := condition()):
        assert time.monotonic() < end, f"it did not happen within {GIVE_UP_S} s"
        time.sleep(every_s)
    return found
