"""What a run is expected to cost, and did cost, in a person's words."""

from learner.planning.cost import PhasePlan, RunPlan
from learner.wording import duration, file_size
from ui.names import plain


def time_text(seconds: float) -> str:
    """`under 1 s`, `2 min 10 s`."""
    return duration(seconds) if round(seconds) else "under 1 s"


def about(seconds: float) -> str:
    return f"about {duration(seconds)}" if round(seconds) else "under 1 s"


def cache_text(phase: PhasePlan) -> str:
    """What the cache does for a phase, or why it does nothing."""
    if not phase.cached:
        return plain(phase.reason)
    once = f"run once ({about(phase.features_s)}) and are kept" if phase.features_s else "have run already and are kept"
    text = f"Frozen stages {once} (cache), instead of {duration(phase.uncached_s)} without."
    return f"{text} {file_size(phase.disk)} of disk." if phase.disk else text


def total_text(plan: RunPlan) -> str:
    """All of a plan in one line."""
    reading = f", {about(plan.decode_s)} of it for reading the images once" if plan.decode_disk else ""
    disk = f" {file_size(plan.disk)} of disk." if plan.disk else ""
    total = f"**{duration(plan.expected_s)}**" if round(plan.expected_s) else "**1 s**"
    return f"About {total} in all{reading}.{disk}"


def precision_text(plan: RunPlan) -> str:
    """The number format and why it was chosen."""
    return f"Computed in {plan.precision}: {_small(plan.precision_reason)}"


def kept_text(plan: RunPlan) -> str:
    """The cache in a few words, for a line of facts."""
    names = [phase.name for phase in plan.stretches if phase.cached]
    return f"frozen stages kept for {' and '.join(names)} (cache)" if names else "nothing kept (cache)"


def expected_and_true(plan: RunPlan, finished: bool) -> list[dict[str, str]]:
    """Rows of a table: reading the images, every phase, and together where all have run to their end."""
    rows = [_row("Reading the images, once", plan.decode_s, plan.true_decode_s, "")]
    rows += [
        _row(plain(phase.name), phase.expected_s, phase.true_s, "on" if phase.cached else "off")
        for phase in plan.stretches
    ]
    parts = [plan.true_decode_s, *(phase.true_s for phase in plan.stretches)]
    times = [seconds for seconds in parts if seconds is not None]
    if finished and len(times) == len(parts):
        rows.append(_row("Together", plan.expected_s, sum(times), ""))
    return rows


def has_true_times(plan: RunPlan) -> bool:
    return any(phase.true_s is not None for phase in plan.stretches)


def _row(part: str, expected_s: float, true_s: float | None, cache: str) -> dict[str, str]:
    true = "–" if true_s is None else time_text(true_s)
    return {"Part": part, "Expected": time_text(expected_s), "True": true, "Cache": cache}


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
