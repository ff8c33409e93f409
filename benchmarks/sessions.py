"""How long a whole page takes to be drawn anew for fifty people at once, while a run trains, and what memory it takes.

Each person is a real WebSocket session without a browser, as browsers would take the cores that are measured. It asks
for a page, waits until the server has sent all of it, looks at it for some seconds, and asks again. Now and then it
uploads a photo and opens what a model says to it.

python benchmarks/sessions.py [--sessions 50] [--seconds 60] [--think 5] [--uploads 0.03] [--write]
"""

import asyncio
import random
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import elpv_data
from benchmarks.home import Home
from benchmarks.live_page import PHOTOS, RECIPE, percentile_95, percentiles, served, speed, wait_until_it_learns
from benchmarks.report import megabytes, parser, publish, table
from learner.recipe import Recipe
from learner.store import Store
from learner.workspace import Workspace

PAGES = ("data", "train", "runs", "predict")
UPLOAD = "upload and answer"
AIM_MS = 1000
ANEW = httpx.Limits(max_keepalive_connections=0)
"""Each request has a connection of its own: one that was idle may just have been closed, where a browser asks again."""
WARM_S = 60
"""Until then every module is loaded, and the model that answers."""
ANSWERING = ("--recipe", "quick", "--set", "backbone=tf_efficientnet_lite0", "--set", "image_size=96")
"""What the model that answers is trained by."""


class DrawingError(Exception):
    """A page showed an exception."""


def main() -> None:
    options = arguments()
    with Home() as home:
        photos = elpv_data.write_classes(elpv_data.cells(PHOTOS), home.folder / "cells")
        home.add(photos, "cells")
        home.learner("train", "--dataset", "cells", *ANSWERING)
        store = Store(Workspace(home.workspace))
        with served(home) as address:
            run_id = store.submit(Recipe.from_dict(RECIPE))
            wait_until_it_learns(store, run_id)
            found = asyncio.run(everybody(address, options, sorted(photos.rglob("*.png"))))
            rate = speed(store, run_id, 5)
    every = [one for page in PAGES for one in found.times[page]]
    rows = [[page, str(len(mine)), *percentiles(mine)] for page, mine in [*found.times.items(), ("all pages", every)]]
    verdict = "met" if percentile_95(every) < AIM_MS else "missed"
    begins, ends = (megabytes(sum(part) // len(part)) for part in (found.memory[:6], found.memory[-6:]))
    text = [
        f"{options.sessions} WebSocket sessions that ask for a whole page, look at it for {options.think:g} s and ask "
        f"again, {options.seconds} s long, while VGG16 at 224 px trains ({rate:.1f} images a second). One look in "
        f"{1 / options.uploads:.0f} is an upload of a photo and the page with a model's answer to it.",
        table(("page", "times", "median (ms)", "95th percentile (ms)", "longest (ms)"), rows),
        f"Errors: {found.errors}. Memory of the web process once the model was loaded, from {WARM_S} s on: {begins} in "
        f"the first minute, {ends} in the last, {megabytes(max(found.memory))} at most.",
        f"The aim, under {AIM_MS} ms at the 95th percentile of all pages, is {verdict}.",
    ]
    publish("sessions", "Many people at once", text, options.write)


@dataclass
class Found:
    times: dict[str, list[float]] = field(default_factory=lambda: {page: [] for page in (*PAGES, UPLOAD)})
    """Milliseconds of every drawing by page, and of every upload with the page that answers."""
    errors: int = 0
    memory: list[int] = field(default_factory=list)
    """Bytes of the web process, every ten seconds from `WARM_S` on."""


async def everybody(address: str, options: Namespace, photos: Sequence[Path]) -> Found:
    found, end = Found(), time.monotonic() + options.seconds
    people = (person(address, number, found, end, options, photos) for number in range(options.sessions))
    await asyncio.gather(weigh(found, end), *people)
    return found


async def weigh(found: Found, end: float) -> None:
    server = next(one for one in psutil.Process().children() if "ui.server" in one.cmdline())
    await asyncio.sleep(min(WARM_S, (end - time.monotonic()) / 2))
    while time.monotonic() < end:
        found.memory.append(server.memory_info().rss)
        await asyncio.sleep(10)


async def person(
    address: str, number: int, found: Found, end: float, options: Namespace, photos: Sequence[Path]
) -> None:
    """One session; its first drawing, which also loads modules, is not counted. No two ask in step."""
    page, chance = PAGES[number % len(PAGES)], random.Random(number)
    await asyncio.sleep(chance.uniform(0, options.think))
    stream = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
    async with (
        connect(stream, subprotocols=["streamlit"], max_size=None) as session,
        httpx.AsyncClient(base_url=address, headers={"X-Thaw": "1"}, timeout=60, limits=ANEW) as client,
    ):
        counted = False
        while time.monotonic() < end:
            uploads, began = counted and chance.random() < options.uploads, time.perf_counter()
            try:
                query = await upload(client, chance.choice(photos)) if uploads else ""
                await draw(session, "predict" if uploads else page, query)
            except (httpx.HTTPError, DrawingError) as error:
                found.errors += 1
                print(f"{page}: {type(error).__name__} {error}", file=sys.stderr)
            if counted:
                found.times[UPLOAD if uploads else page].append(1000 * (time.perf_counter() - began))
            counted = True
            await asyncio.sleep(chance.uniform(0.5, 1.5) * options.think)


async def upload(client: httpx.AsyncClient, photo: Path) -> str:
    """Send a photo for Predict; returns what the page's address says of it."""
    begun = (await client.post("/api/uploads")).raise_for_status().json()["id"]
    sent = await client.put(f"/api/uploads/{begun}/files", params={"name": photo.name}, content=photo.read_bytes())
    sent.raise_for_status()
    done = (await client.post(f"/api/uploads/{begun}/done", params={"for": "predict"})).raise_for_status()
    return f"batch={done.json()['batch']}"


async def draw(session, page: str, query: str = "") -> None:
    """Raises DrawingError where the page shows an exception."""
    asked = BackMsg()
    asked.rerun_script.page_name = page
    asked.rerun_script.query_string = query
    await session.send(asked.SerializeToString())
    finished = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)
    while True:
        told = ForwardMsg.FromString(await session.recv())
        if told.delta.new_element.WhichOneof("type") == "exception":
            raise DrawingError(told.delta.new_element.exception.message)
        if told.WhichOneof("type") == "script_finished" and told.script_finished in finished:
            return


def arguments() -> Namespace:
    made = parser(__doc__)
    made.add_argument("--sessions", type=int, default=50, help="people at once; default: %(default)s")
    made.add_argument("--seconds", type=int, default=60, help="how long is measured; default: %(default)s")
    made.add_argument("--think", type=float, default=5.0, help="seconds between two drawings; default: %(default)s")
    made.add_argument("--uploads", type=float, default=0.03, help="share of looks that upload; default: %(default)s")
    return made.parse_args()


if __name__ == "__main__":
    main()
