"""Images that arrive at the same time are computed together, as far as that makes each of them cheaper.

While one batch is computed, what arrives meanwhile waits and becomes the next. Nobody waits for a timer, so a lone
image is answered as soon as it can be. A batch is answered as a whole, so that a large one makes its first image wait
for its last: a network that gains nothing from batches, such as VGG16 on a few cores, gets its images one by one.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from learner.errors import ThawError
from learner.serving.model import Outputs


class Busy(ThawError):
    """More images wait than may; asking again a little later may succeed."""


WORTH = 1.05
"""Images of a larger batch must be cheaper by this factor."""
WEIGHT = 0.2
"""Of the newest batch in what is known of its size."""
LEARNT_ANEW = 1000
"""After so many batches sizes are tried again, as the machine may have other work by then."""


class BatchSizes:
    """Which size to compute next, learnt from how long batches take."""

    def __init__(self, most: int):
        """`most` is the largest size."""
        self._sizes = sorted({most, *(2**power for power in range(most.bit_length()))})
        self._tried: dict[int, int] = {}
        self._seconds: dict[int, float] = {}  # an image

    def choose(self, waiting: int) -> int:
        """Of `waiting` images, how many to take."""
        possible = [size for size in self._sizes if size <= waiting]
        unknown = [size for size in possible if size not in self._seconds]
        if unknown:
            return unknown[-1]
        limit = WORTH * min(self._seconds[size] for size in possible)
        return next(size for size in possible if self._seconds[size] <= limit)

    def saw(self, size: int, seconds: float) -> None:
        """A batch of that size took so long. Its first time is not counted, as onnxruntime makes room then."""
        if sum(self._tried.values()) >= LEARNT_ANEW:
            self._tried, self._seconds = dict.fromkeys(self._tried, 1), {}
        self._tried[size] = self._tried.get(size, 0) + 1
        if self._tried[size] > 1:
            each = seconds / size
            known = self._seconds.get(size, each)
            self._seconds[size] = known + WEIGHT * (each - known)


@dataclass
class _Waiting:
    pixels: np.ndarray
    heat_map: bool
    outputs: asyncio.Future[Outputs]


class Batcher:
    """Computes in a thread of its own, a batch at a time."""

    def __init__(
        self,
        look: Callable[[np.ndarray, bool], Outputs],
        most: int,
        longest_queue: int,
        watch: Callable[[int], None] = lambda images: None,
    ):
        """`look` takes (images, side, side, 3) of bytes, and whether heat maps are wanted.

        `most` is how many images a batch has at most, `longest_queue` how many may wait; `watch` is told each batch's
        size.
        """
        self._look, self._longest, self._watch = look, longest_queue, watch
        self._sizes = BatchSizes(most)
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")

    @property
    def waiting(self) -> int:
        """How many images wait."""
        return self._waiting.qsize()

    async def ask(self, pixels: np.ndarray, heat_map: bool) -> Outputs:
        """Of one image, (side, side, 3) of bytes. Raises Busy, and what `look` raises."""
        if self.waiting >= self._longest:
            raise Busy("More images wait than this server takes on. Ask again in a moment.")
        one = _Waiting(pixels, heat_map, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(one)
        return await one.outputs

    async def work(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            for _ in range(self._sizes.choose(1 + self.waiting) - 1):
                batch.append(self._waiting.get_nowait())
            batch = [one for one in batch if not one.outputs.done()]  # whoever asked may have left
            if not batch:
                continue
            self._watch(len(batch))
            pixels, heat_maps = np.stack([one.pixels for one in batch]), any(one.heat_map for one in batch)
            began = time.perf_counter()
            try:
                outputs = await loop.run_in_executor(self._thread, self._look, pixels, heat_maps)
            except Exception as error:  # each who asked is told, and the next batch is computed
                for one in batch:
                    if not one.outputs.done():
                        one.outputs.set_exception(error)
                continue
            self._sizes.saw(len(batch), time.perf_counter() - began)
            for place, one in enumerate(batch):
                if not one.outputs.done():
                    one.outputs.set_result(_of_one(outputs, place, one.heat_map))


def _of_one(outputs: Outputs, place: int, heat_map: bool) -> Outputs:
    here = slice(place, place + 1)
    maps = outputs.heat_maps[here] if heat_map and outputs.heat_maps is not None else None
    return Outputs(outputs.probs[here], outputs.distances[here], maps)
