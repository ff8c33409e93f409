"""Images that belong together: near duplicates, and what a person declared to be one group."""

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Grouped(Protocol):
    cluster: str
    group: str


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
