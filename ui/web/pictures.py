"""Thumbnails and previews by content: made once, kept by the browser for good. Originals are never sent as they are."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from learner.datasets.files import THUMBNAIL_SIDE, find_picture, save_thumbnail, thumbnail_file
from learner.datasets.images import reading
from learner.errors import ImageError, StoreError
from learner.inference.batches import batch_pictures
from learner.workspace import Workspace
from ui import state
from ui.web.entering import entered_by

PREVIEW_SIDE = 1024
"""Pixels on the longest side of the large view."""
_SIDES = {"thumbnail": THUMBNAIL_SIDE, "preview": PREVIEW_SIDE}
_FOR_GOOD = {"Cache-Control": "private, max-age=31536000, immutable"}


def thumbnail_url(dataset: str, sha256: str) -> str:
    """Where the browser finds the thumbnail of a picture; `dataset` says where to look if it has to be made again."""
    return _url("thumbnail", dataset, sha256)


def preview_url(dataset: str, sha256: str) -> str:
    """Where the browser finds the same picture, large."""
    return _url("preview", dataset, sha256)


def batch_picture_url(kind: str, batch_id: str, sha256: str) -> str:
    """Where the browser finds the `thumbnail` or `preview` of a picture of a batch (`learner.inference.batches`)."""
    return f"api/pictures/{kind}/{sha256}.jpg?batch={batch_id}{_of_space()}"


def _url(kind: str, dataset: str, sha256: str) -> str:
    return f"api/pictures/{kind}/{sha256}.jpg?data={quote(dataset)}{_of_space()}"


def _of_space() -> str:
    space = state.entered().space
    return f"&space={quote(space)}" if space else ""


async def _picture(request: Request) -> Response:
    workspace = entered_by(request).workspace
    side, sha256 = _SIDES.get(request.path_params["kind"]), request.path_params["sha256"]
    if side is None or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return Response(status_code=404)
    try:
        file = await run_in_threadpool(_file, workspace, request.query_params, sha256, side)
    except (ImageError, StoreError):
        file = None
    return FileResponse(file, media_type="image/jpeg", headers=_FOR_GOOD) if file else Response(status_code=404)


def _file(workspace: Workspace, where: Mapping[str, str], sha256: str, side: int) -> Path | None:
    file = thumbnail_file(workspace, sha256, side)
    if not file.exists():
        if "batch" in where:
            original = next(batch_pictures(workspace, where["batch"]).glob(f"{sha256}*"), None)
        else:
            original = find_picture(workspace, where.get("data", ""), sha256)
        if original is None:
            return None
        with reading(original, at_least=side) as picture:
            save_thumbnail(picture, file, side)
    return file


picture_routes = [Route("/api/pictures/{kind}/{sha256}.jpg", _picture)]
