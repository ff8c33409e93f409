"""What the server does beside showing pages: who may speak to it, uploads, pictures, a live camera, its health."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.middleware import Middleware

from learner import Store, ThawError
from learner.datasets.uploads import clear_abandoned
from learner.housekeeping import clean_up
from learner.jobs.process import use_patient_threads
from learner.logs import use_json, wants_json
from ui import people
from ui.web.guard import OPEN, Guard
from ui.web.health import health_routes
from ui.web.live import live_routes
from ui.web.maps import map_routes
from ui.web.pictures import picture_routes
from ui.web.uploads import upload_routes

log = logging.getLogger(__name__)

__all__ = ["making_ready", "middleware", "routes"]

middleware = [Middleware(Guard)]
routes = [*upload_routes, *picture_routes, *live_routes, *map_routes, *health_routes]


@asynccontextmanager
async def making_ready(_app: object) -> AsyncIterator[None]:
    """For as long as the server runs. What the first page needs is made ready while the browser fetches its scripts."""
    use_patient_threads()  # models answer in this process, beside browsers and training
    if wants_json():
        use_json()
    if people.is_open_to_others() and not people.may_be_open():
        log.warning("%s", OPEN.strip())
    threading.Thread(target=_make_ready, daemon=True).start()
    yield


def _make_ready() -> None:
    """Bring the tables up to date, clear up, load modules. An error is left to the page, which meets it again."""
    try:
        store = Store()
        clear_abandoned(store.workspace)
        clean_up(store)
    except (ThawError, OSError):
        return
    import ui.data.checking  # noqa: F401
