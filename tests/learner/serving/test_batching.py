"""Images that arrive together are computed together, and nobody's trouble is another's."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from learner.errors import ModelError
from learner.serving.batching import LEARNT_ANEW, Batcher, BatchSizes, Busy
from learner.serving.model import Outputs


def ran(work: Coroutine) -> Any:
    """What it returns, in a thread of its own, as a browser of another test may have a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def look(pixels: np.ndarray, heat_maps: bool) -> Outputs:
    """Probabilities that tell the image's value."""
    values = pixels[:, 0, 0, 0].astype(float)
    maps = values[:, None, None].repeat(2, 1).repeat(2, 2) if heat_maps else None
    return Outputs(values[:, None], values, maps)


def test_what_arrives_while_a_batch_is_computed_becomes_the_next_one_up_to_its_largest_size():
    sizes, go = [], threading.Event()

    def slow(pixels, heat_maps):
        go.wait()
        return look(pixels, heat_maps)

    async def run():
        batcher = Batcher(slow, most=3, longest_queue=10, watch=sizes.append)
        work = asyncio.create_task(batcher.work())
        first = asyncio.create_task(batcher.ask(image(0), False))
        while not sizes:
            await asyncio.sleep(0)
        others = [asyncio.create_task(batcher.ask(image(value), value == 3)) for value in range(1, 6)]
        await asyncio.sleep(0)
        go.set()
        answers = await asyncio.gather(first, *others)
        work.cancel()
        return answers

    answers = ran(run())
    assert sizes == [1, 3, 2]
    assert [float(one.probs[0, 0]) for one in answers] == [0, 1, 2, 3, 4, 5]
    assert [one.heat_maps is not None for one in answers] == [False, False, False, True, False, False]


def test_more_than_may_wait_are_refused_at_once():
    async def run():
        batcher = Batcher(look, most=1, longest_queue=2)  # nobody works
        waiting = [asyncio.create_task(batcher.ask(image(0), False)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="Ask again"):
            await batcher.ask(image(0), False)
        for one in waiting:
            one.cancel()

    ran(run())


def test_a_batch_that_fails_is_told_to_those_in_it_and_the_next_is_computed():
    def fails_on_seven(pixels, heat_maps):
        if (pixels == 7).any():
            raise ModelError("Seven.")
        return look(pixels, heat_maps)

    async def run():
        batcher = Batcher(fails_on_seven, most=1, longest_queue=9)
        work = asyncio.create_task(batcher.work())
        asked = (batcher.ask(image(value), False) for value in (7, 1))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        work.cancel()
        return answers

    failed, answered = ran(run())
    assert isinstance(failed, ModelError) and float(answered.probs[0, 0]) == 1


def test_whoever_left_while_waiting_is_not_computed_for():
    sizes = []

    async def run():
        batcher = Batcher(look, most=4, longest_queue=9, watch=sizes.append)
        left = asyncio.create_task(batcher.ask(image(0), False))
        stayed = asyncio.create_task(batcher.ask(image(1), False))
        await asyncio.sleep(0)
        left.cancel()
        work = asyncio.create_task(batcher.work())
        answer = await stayed
        work.cancel()
        return answer

    assert float(ran(run()).probs[0, 0]) == 1 and sizes == [1]


def sizes_chosen(seconds, batches: int, waiting: int = 8) -> list[int]:
    """Sizes of batches that follow each other, where one of `n` images takes `seconds(n)`."""
    sizes, chosen = BatchSizes(8), []
    for _ in range(batches):
        chosen.append(sizes.choose(waiting))
        sizes.saw(chosen[-1], seconds(chosen[-1]))
    return chosen


def test_batches_are_no_larger_than_what_makes_an_image_cheaper():
    same_price = sizes_chosen(lambda images: 0.06 * images, 50)
    assert set(same_price[10:]) == {1}  # together they only wait for each other
    assert set(sizes_chosen(lambda images: 0.01 + 0.001 * images, 50)[10:]) == {8}
    assert set(sizes_chosen(lambda images: 0.01 * max(images, 4), 50)[10:]) == {4}  # four at a time on four cores
    assert set(sizes_chosen(lambda images: 0.01 + 0.001 * images, 50, waiting=3)) == {1, 2}  # more are not there


def test_a_size_is_tried_anew_when_the_machine_may_have_changed():
    slow = iter([9.0] * 2)  # something else ran while large batches were tried
    chosen = sizes_chosen(lambda images: next(slow, 0.1) if images == 8 else 0.1 * images, LEARNT_ANEW + 50)
    assert set(chosen[20:900]) == {1} and set(chosen[-20:]) == {8}


def test_the_first_batch_of_a_size_does_not_count_as_room_is_made_then():
    first: set[int] = set()

    def seconds(images: int) -> float:
        known = images in first
        first.add(images)
        return 0.01 + 0.001 * images + (0 if known else 5)

    assert set(sizes_chosen(seconds, 50)[10:]) == {8}
