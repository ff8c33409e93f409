"""How long a whole page takes to be drawn anew for thirty people at once, while a run trains. Prints a table.

Each person is a real WebSocket session without a browser, as browsers would take the cores that are measured. It asks
for a page, waits until the server has sent all of it, looks at it for some seconds, and asks again.

python benchmarks/sessions.py [--sessions 30] [--seconds 60] [--think 5] [--write]
"""

import asyncio
import random
import sys
import time
from argparse import Namespace
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.live_page import PHOTOS, RECIPE, percentile_95, percentiles, served, speed, wait_until_it_learns
from benchmarks.report import parser, publish, table
from learner.recipe import Recipe
from learner.store import Store
from learner.workspace import Workspace

PAGES = ("data", "train", "runs", "predict")
AIM_MS = 1000


def main() -> None:
    options = arguments()
    with Home() as home:
        home.add(elpv_data.write_classes(elpv_data.cells(PHOTOS), home.folder / "cells"), "cells")
        store = Store(Workspace(home.workspace))
        with served(home) as address:
            run_id = store.submit(Recipe.from_dict(RECIPE))
            wait_until_it_learns(store, run_id)
            times = asyncio.run(everybody(address, options))
            rate = speed(store, run_id, 5)
    every = [one for page in times.values() for one in page]
    rows = [[page, str(len(mine)), *percentiles(mine)] for page, mine in [*times.items(), ("all", every)]]
    verdict = "met" if percentile_95(every) < AIM_MS else "missed"
    text = [
        f"{options.sessions} WebSocket sessions that ask for a whole page, look at it for {options.think:g} s and ask "
        f"again, {options.seconds} s long, while VGG16 at 224 px trains ({rate:.1f} images a second).",
        table(("page", "times", "median (ms)", "95th percentile (ms)", "longest (ms)"), rows),
        f"The aim, under {AIM_MS} ms at the 95th percentile of all, is {verdict}.",
    ]
    publish("sessions", "Many people at once", text, options.write)


async def everybody(address: str, options: Namespace) -> dict[str, list[float]]:
    """Milliseconds of every drawing, by page."""
    times: dict[str, list[float]] = {page: [] for page in PAGES}
    end = time.monotonic() + options.seconds
    people = (person(address, number, times, end, options) for number in range(options.sessions))
    await asyncio.gather(*people)
    return times


async def person(address: str, number: int, times: dict[str, list[float]], end: float, options: Namespace) -> None:
    """One session; its first drawing, which also loads modules, is not counted. No two ask in step."""
    page, chance = PAGES[number % len(PAGES)], random.Random(number)
    await asyncio.sleep(chance.uniform(0, options.think))
    stream = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
    async with connect(stream, subprotocols=["streamlit"], max_size=None) as session:
        counted = False
        while time.monotonic() < end:
            began = time.perf_counter()
            await draw(session, page)
            if counted:
                times[page].append(1000 * (time.perf_counter() - began))
            counted = True
            await asyncio.sleep(chance.uniform(0.5, 1.5) * options.think)


async def draw(session, page: str) -> None:
    asked = BackMsg()
    asked.rerun_script.page_name = page
    await session.send(asked.SerializeToString())
    finished = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)
    while True:
        told = ForwardMsg.FromString(await session.recv())
        if told.WhichOneof("type") == "script_finished" and told.script_finished in finished:
            return


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--sessions", type=int, default=30, help="people at once; default: %(default)s")
    made.add_argument("--seconds", type=int, default=60, help="how long is measured; default: %(default)s")
    made.add_argument("--think", type=float, default=5.0, help="seconds between two drawings; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
