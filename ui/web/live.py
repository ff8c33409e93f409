"""What a model says of one frame of a camera, at once; nothing is kept.

POST /api/live?run=3&coverage=0.95   a JPEG as the body; answers {"classes", "probs", "none", "knows_none",
                                     "milliseconds"}, the most probable classes first

Errors are {"error": sentence}. The header `X-Thaw` is required, as for uploads. Frames of all cameras wait in one row:
two at once would only slow each other.
"""

import asyncio
import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from learner.errors import ThawError
from learner.inference.batch_work import TOP
from learner.inference.batches import COVERAGES, model_key
from ui import state
from ui.people import Entered
from ui.predict.answering import get_asker
from ui.web.entering import entered_by

MOST_BYTES = 2_000_000
"""Of a frame; one of 224 × 224 pixels has about 20 kB."""
_looking = ThreadPoolExecutor(1, thread_name_prefix="live")


async def _live(request: Request) -> Response:
    if "x-thaw" not in request.headers:
        return _refused("This address is for Thaw's own pages.", 403)
    asked = request.query_params
    if not asked.get("run", "").isdecimal() or asked.get("coverage", "") not in [str(share) for share in COVERAGES]:
        return _refused("The address names no run and coverage.", 400)
    frame = bytearray()
    try:
        async for chunk in request.stream():
            frame += chunk
            if len(frame) > MOST_BYTES:
                return _refused("That frame is too large.", 413)
        look = asyncio.get_running_loop().run_in_executor
        place = entered_by(request)
        said = await look(_looking, _look, place, int(asked["run"]), float(asked["coverage"]), bytes(frame))
    except ClientDisconnect:
        return Response(status_code=400)
    except ThawError as error:
        return _refused(str(error), 400)
    return JSONResponse(said, headers={"Cache-Control": "no-store"})


def _look(place: Entered, run_id: int, coverage: float, frame: bytes) -> dict[str, Any]:
    """Raises ThawError where there is no such model, or no picture in `frame`."""
    store = state.store_of(place)
    run_id = store.runs.get(run_id).id
    predictor = get_asker().predictor(store, run_id, model_key(run_id, store.checkpoint(run_id)))
    began = time.perf_counter()
    [said] = predictor.predict([io.BytesIO(frame)], TOP)
    if said.error:
        raise ThawError("The camera sent no picture that can be read. Start it again.")
    return {
        "classes": said.classes,
        "probs": said.probs,
        "none": said.is_none_of_these(predictor.spec.threshold(coverage)),
        "knows_none": said.distance is not None,
        "milliseconds": 1000 * (time.perf_counter() - began),
    }


def _refused(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status)


live_routes = [Route("/api/live", _live, methods=["POST"])]
