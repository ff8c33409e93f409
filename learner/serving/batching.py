"""Images that arrive at the same time are computed together.

While one batch is computed, what arrives meanwhile waits and becomes the next. Nobody waits for a timer, so a lone
image is answered as soon as it can be.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from learner.errors import ThawError
from learner.serving.model import Outputs


class Busy(ThawError):
    """More images wait than may; asking again a little later may succeed."""


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
        self._look, self._most, self._longest, self._watch = look, most, longest_queue, watch
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
            while len(batch) < self._most and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch = [one for one in batch if not one.outputs.done()]  # whoever asked may have left
            if not batch:
                continue
            self._watch(len(batch))
            pixels, heat_maps = np.stack([one.pixels for one in batch]), any(one.heat_map for one in batch)
            try:
                outputs = await loop.run_in_executor(self._thread, self._look, pixels, heat_maps)
            except Exception as error:  # each who asked is told, and the next batch is computed
                for one in batch:
                    if not one.outputs.done():
                        one.outputs.set_exception(error)
                continue
            for place, one in enumerate(batch):
                if not one.outputs.done():
                    one.outputs.set_result(_of_one(outputs, place, one.heat_map))


def _of_one(outputs: Outputs, place: int, heat_map: bool) -> Outputs:
    here = slice(place, place + 1)
    maps = outputs.heat_maps[here] if heat_map and outputs.heat_maps is not None else None
    return Outputs(outputs.probs[here], outputs.distances[here], maps)
