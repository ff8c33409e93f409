"""Near duplicates: pictures that are one photo saved twice, resized, brightened or barely moved."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from learner.store import Content

MAX_DISTANCE = 10
"""Bits of 64 in which the perceptual hashes of near duplicates may differ."""
MIN_CORRELATION = 0.9
"""Of the small grey copies, after what all pictures of the data set have in common was taken away."""
SAME_DISTANCE = 4
SAME_CORRELATION = 0.98
"""Two pictures this much alike are near duplicates even where the whole data set looks alike, as frames of a video."""
SHRINKAGE = 50
"""Images at which half of the common picture is taken away: of a few images it is not known what is common."""
_ROWS_AT_ONCE = 256
_PAIRS_AT_ONCE = 20_000


def clusters(contents: Sequence[Content]) -> dict[str, str]:
    """sha256 → cluster, for pictures that have a near duplicate among `contents`; others are left out.

    Near duplicates of near duplicates are in one cluster. It is named after its first sha256, so that it keeps its name
    when others come. Perceptual hashes find the candidates; the correlation of the 32 × 32 grey copies decides. Time
    grows with the square of their number: 25,000 pictures take seconds.
    """
    if len(contents) < 2:
        return {}
    contents = sorted(contents, key=lambda content: content.sha256)
    first, second = _near_pairs(contents)
    size = len(contents)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    members = np.bincount(component)
    names: dict[int, str] = {}
    found = {}
    for content, number in zip(contents, component.tolist(), strict=True):
        if members[number] > 1:
            found[content.sha256] = names.setdefault(number, content.sha256[:12])
    return found


def _near_pairs(contents: Sequence[Content]) -> tuple[np.ndarray, np.ndarray]:
    hashes = np.array([int(content.phash, 16) for content in contents], np.uint64)
    plain = _unit(np.stack([np.frombuffer(content.tiny, np.uint8) for content in contents]).astype(np.float32))
    common = plain.mean(0) * (len(plain) / (len(plain) + SHRINKAGE))
    own = plain - common
    own /= np.linalg.norm(own, axis=1, keepdims=True) + 1e-6
    firsts, seconds = [], []
    for first, second, distance in _candidates(hashes):
        near = np.einsum("ij,ij->i", own[first], own[second]) >= MIN_CORRELATION
        same = distance <= SAME_DISTANCE
        near[same] |= np.einsum("ij,ij->i", plain[first[same]], plain[second[same]]) >= SAME_CORRELATION
        firsts.append(first[near])
        seconds.append(second[near])
    return np.concatenate([np.empty(0, int), *firsts]), np.concatenate([np.empty(0, int), *seconds])


def _candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs (i < j) of indices whose hashes are near, with their distance, a few thousand at once."""
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        rows = hashes[start : start + _ROWS_AT_ONCE]
        distances = np.bitwise_count(rows[:, None] ^ hashes[None, start:])
        first, second = np.nonzero(distances <= MAX_DISTANCE)
        distance = distances[first, second]
        upper = second > first
        first, second, distance = first[upper] + start, second[upper] + start, distance[upper]
        for cut in range(0, len(first), _PAIRS_AT_ONCE):
            part = slice(cut, cut + _PAIRS_AT_ONCE)
            yield first[part], second[part], distance[part]


def _unit(pictures: np.ndarray) -> np.ndarray:
    """Each row without its mean and of length 1; a plain surface becomes zeros, which resemble nothing."""
    centred = pictures - pictures.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-3)
