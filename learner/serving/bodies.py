"""The three ways in which images come in a request: a form with files, JSON with base64, or the bytes of one image."""

import base64
import io
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

JSON, FORM = "application/json", "multipart/form-data"


class ImagesAsJson(BaseModel):
    """Images as base64."""

    model_config = ConfigDict(extra="forbid")

    images: Annotated[
        list[Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]],
        Field(min_length=1, description="The bytes of each image file, as base64."),
    ]


@dataclass(frozen=True)
class Picture:
    """One image as it came."""

    name: str
    """Its file's name, as whoever sent it says; empty where there is none."""
    content: io.BytesIO | None
    """None where it was no base64."""


def described_body(most: int) -> dict[str, Any]:
    """For the OpenAPI description, as FastAPI cannot tell it of a request that is read by hand."""
    file = {"type": "string", "format": "binary"}
    files = {"type": "array", "minItems": 1, "maxItems": most, "items": file}
    form = {"type": "object", "required": ["images"], "properties": {"images": files}}
    as_json = ImagesAsJson.model_json_schema()
    as_json["properties"]["images"]["maxItems"] = most
    schemas = {FORM: form, JSON: as_json, "image/jpeg": file, "application/octet-stream": file}
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in schemas.items()}}


async def pictures_of(request: Request, most: int) -> list[Picture]:
    """The images of a request, in order. Raises HTTPException where there are none, too many, or unknown forms."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        pictures = await _from_form(request, most)
    elif kind == JSON:
        pictures = _from_json(await request.body())
    elif kind.startswith("image/") or kind == "application/octet-stream":
        pictures = [Picture("", io.BytesIO(await request.body()))]
    else:
        raise HTTPException(
            415,
            f"Images come as {FORM}, as {JSON}, or as the bytes of one image (image/jpeg …), not as "
            f"{kind or 'a request without a content type'}.",
        )
    if not pictures:
        raise HTTPException(422, 'The form has no files named "images".')
    if len(pictures) > most:
        raise HTTPException(422, f"A request may hold {most} images. Send the others in another one.")
    return pictures


async def _from_form(request: Request, most: int) -> list[Picture]:
    async with request.form(max_files=most, max_fields=16) as form:
        files = form.getlist("images")
        if not all(isinstance(file, UploadFile) for file in files):
            raise HTTPException(422, 'What the form calls "images" has to be files.')
        return [
            Picture(file.filename or "", io.BytesIO(await file.read()))
            for file in files
            if isinstance(file, UploadFile)
        ]


def _from_json(body: bytes) -> list[Picture]:
    try:
        asked = ImagesAsJson.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, told(error.errors())) from error
    return [Picture("", _decoded(text)) for text in asked.images]


def _decoded(text: str) -> io.BytesIO | None:
    content = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return io.BytesIO(base64.b64decode(content, validate=True))
    except ValueError:
        return None


def told(problems: Any) -> str:
    """What pydantic found, in a line: where, and what is wrong."""
    lines = (f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}" for one in problems)
    return "; ".join(lines)
