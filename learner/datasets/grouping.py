"""Images that belong together: near duplicates, and what a person declared to be one group."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol, TypeVar


class Grouped(Protocol):
    """An image, or a row of one, that may belong together with others."""

    @property
    def cluster(self) -> str: ...

    @property
    def group(self) -> str: ...


AnyGrouped = TypeVar("AnyGrouped", bound=Grouped)


def components(images: Iterable[AnyGrouped], clusters: bool = True) -> list[list[AnyGrouped]]:
    """`images` as lists of those that belong together, in order of their first; most lists hold a single image.

    Two images belong together when they share a cluster or a group, or each belongs together with a third.
    Without `clusters` only declared groups count.
    """
    images = list(images)
    parent = list(range(len(images)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    seen: dict[tuple[str, str], int] = {}
    for place, image in enumerate(images):
        for key in (("cluster", image.cluster if clusters else ""), ("group", image.group)):
            if key[1]:
                first, here = sorted((root(seen.setdefault(key, place)), root(place)))
                parent[here] = first
    found: dict[int, list[AnyGrouped]] = {}
    for place, image in enumerate(images):
        found.setdefault(root(place), []).append(image)
    return list(found.values())


class Shot(Protocol):
    """A photo whose camera has said when it was taken."""

    @property
    def camera(self) -> str: ...

    @property
    def taken_at(self) -> float | None: ...


def bursts(shots: Mapping[str, Shot], seconds: float) -> dict[str, str]:
    """Key → name of its burst, for photos of one camera taken within `seconds` of the one before or after.

    A burst is named after its camera and its first moment, by the camera's clock. Photos without a time are in none.
    """
    timed = sorted(
        ((shot.camera, shot.taken_at, key) for key, shot in shots.items() if shot.taken_at is not None),
        key=lambda shot: shot[:2],
    )
    found: dict[str, str] = {}
    burst: list[tuple[str, float, str]] = []
    for shot in [*timed, None]:
        if shot and burst and shot[0] == burst[-1][0] and shot[1] - burst[-1][1] <= seconds:
            burst.append(shot)
            continue
        if len(burst) > 1:
            camera, moment, _ = burst[0]
            clock = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
            name = f"{camera}, {clock}" if camera else clock
            found |= {key: name for _, _, key in burst}
        burst = [shot] if shot else []
    return found
