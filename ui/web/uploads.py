"""Files on their way from a browser to disk: streamed, so that memory does not grow with them, and whole or not at all.

POST /api/uploads                          begin one; answers {"id"}
PUT  /api/uploads/{id}/files?name=a/1.jpg  one file, its bytes as the body
POST /api/uploads/{id}/done                all are here; answers {"job"}: what arrived is looked at next
POST /api/uploads/{id}/done?for=predict    all are here; answers {"batch"}: pictures for the Predict page
POST /api/uploads/{id}/done?for=pool&data=pets   all are here; answers {"job"}: they come into that data set without a
                                           class at once
DELETE /api/uploads/{id}                   throw it away

Errors are {"error": sentence}. The header `X-Thaw` is required: no page of another site can send it, as browsers let
only pages of this server set it.
"""

import errno
import logging
import shutil
from collections.abc import Awaitable, Callable

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from learner.datasets.disk import is_full, why_not_kept
from learner.datasets.jobs import start_import, start_look
from learner.datasets.layouts import Choice
from learner.datasets.uploads import Upload, begin_upload, clear_abandoned, delete, find_upload
from learner.errors import DatasetError
from learner.inference.batches import begin_upload as begin_batch
from ui import state
from ui.web.entering import entered_by

log = logging.getLogger(__name__)

_BUFFER_BYTES = 2**20


def _answering(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`handle`, with its errors as sentences; what is not a person's to mend goes to the log."""

    async def answer(request: Request) -> Response:
        if "x-thaw" not in request.headers:
            return JSONResponse({"error": "This address is for Thaw's own pages."}, 403)
        try:
            return await handle(request)
        except DatasetError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except OSError as error:
            log.exception("An upload could not be kept")
            said = why_not_kept("The upload", error, entered_by(request).workspace.uploads)
            return JSONResponse({"error": said}, 507 if is_full(error) else 500)

    return answer


@_answering
async def _begin(request: Request) -> Response:
    place = entered_by(request)
    workspace = place.workspace
    await run_in_threadpool(place.require_room)
    upload = await run_in_threadpool(begin_upload, workspace)
    return JSONResponse({"id": upload.id}, background=BackgroundTask(clear_abandoned, workspace))


@_answering
async def _put(request: Request) -> Response:
    upload = _find(request)
    size = int(request.headers.get("content-length", 0))
    free = shutil.disk_usage(upload.folder).free
    if size > free:
        raise OSError(errno.ENOSPC, "")
    part = upload.new_part()
    try:
        with part.open("xb") as file:
            buffer = bytearray()
            async for chunk in request.stream():
                buffer += chunk
                if len(buffer) >= _BUFFER_BYTES:
                    await run_in_threadpool(file.write, bytes(buffer))
                    buffer.clear()
            await run_in_threadpool(file.write, bytes(buffer))
        await run_in_threadpool(upload.keep, part, request.query_params.get("name", ""))
    except BaseException:  # the browser may go away at any byte
        part.unlink(missing_ok=True)
        raise
    return Response(status_code=204)


@_answering
async def _done(request: Request) -> Response:
    place = entered_by(request)
    workspace = place.workspace
    to_predict, to_pool = (request.query_params.get("for") == what for what in ("predict", "pool"))
    if not (to_predict or place.may_change):
        raise DatasetError(place.for_reading)
    name = request.query_params.get("data", "")
    if to_pool:
        await run_in_threadpool(lambda: state.store_of(place).datasets.version(name))  # raises where it is not there
    source = await run_in_threadpool(_find(request).finish)
    if to_predict:
        batch = await run_in_threadpool(begin_batch, workspace, source)
        return JSONResponse({"batch": batch.id})
    if to_pool:
        job_id = await run_in_threadpool(
            lambda: start_import(
                workspace,
                source,
                name,
                delete_source_after=True,
                note="Photos without a class.",
                choice=Choice("unlabelled"),
                mode="add",
            )
        )
        return JSONResponse({"job": job_id})
    job_id = await run_in_threadpool(lambda: start_look(workspace, source, delete_source_after=True))
    return JSONResponse({"job": job_id})


@_answering
async def _throw_away(request: Request) -> Response:
    gone = await run_in_threadpool(_find(request).give_up)
    return Response(status_code=204, background=BackgroundTask(delete, gone))


def _find(request: Request) -> Upload:
    return find_upload(entered_by(request).workspace, request.path_params["id"])


upload_routes = [
    Route("/api/uploads", _begin, methods=["POST"]),
    Route("/api/uploads/{id}/files", _put, methods=["PUT"]),
    Route("/api/uploads/{id}/done", _done, methods=["POST"]),
    Route("/api/uploads/{id}", _throw_away, methods=["DELETE"]),
]
