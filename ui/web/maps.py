"""The map of a run's photos for the browser, in one piece: hundreds of bytes a photo, packed.

GET /api/maps/3   {"path", "sha256", "label", "split", "predicted", "probability", "x", "y"}: a list each, in one order,
                  and "classes"; 404 where no map was made yet

See `learner.evaluation.photo_map`.
"""

import gzip
import json
from dataclasses import asdict
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from learner.errors import ThawError
from learner.evaluation.photo_map import map_file, read_map
from ui import state
from ui.people import Entered
from ui.web.entering import entered_by


def map_url(run_id: int, stamp: int) -> str:
    """Where the browser finds the map of a run; another `stamp` for another map."""
    space = state.entered().space
    return f"api/maps/{run_id}?of={stamp}" + (f"&space={quote(space)}" if space else "")


async def _map(request: Request) -> Response:
    place = entered_by(request)
    try:
        found = await run_in_threadpool(_packed, place, request.path_params["run"])
    except ThawError:
        found = None
    if found is None:
        return Response(status_code=404)
    headers = {"Content-Encoding": "gzip", "Cache-Control": "private, no-cache"}
    return Response(found, media_type="application/json", headers=headers)


def _packed(place: Entered, run_id: int) -> bytes | None:
    """As JSON, by gzip. Raises ThawError where there is no such run or model."""
    store = state.store_of(place)
    made = read_map(map_file(store, store.runs.get(run_id)))
    return None if made is None else gzip.compress(json.dumps(asdict(made)).encode(), compresslevel=3)


map_routes = [Route("/api/maps/{run:int}", _map)]
