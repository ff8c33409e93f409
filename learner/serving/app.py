"""What a served model answers: predictions, what it is, how it does, and a page on which all of that can be tried.

POST /v1/predict   images → classes with probabilities, "none of these", heat maps
GET  /v1/model     classes, image size, SHA-256
GET  /health       200 as long as the process answers
GET  /ready        200 when the model answers
GET  /metrics      figures for Prometheus
GET  /docs         the OpenAPI page; /openapi.json describes it to programs
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from learner.errors import ImageError, ModelError
from learner.serving.batching import Batcher, Busy
from learner.serving.bodies import Picture, described_body, pictures_of, told
from learner.serving.figures import ServerFigures
from learner.serving.keys import Keys
from learner.serving.limits import BodyLimit
from learner.serving.model import Answer, ServedModel, joined
from learner.version import __version__

THIS_MACHINE = ["localhost", "127.0.0.1", "[::1]"]


@dataclass(frozen=True)
class Settings:
    """How a model is served."""

    max_bytes: int = 20_000_000
    """Largest request."""
    max_images: int = 32
    """Most images in one request."""
    batch: int = 8
    """Most images that are computed together."""
    longest_queue: int = 256
    """Most images that wait; more are refused with 503."""
    cors: tuple[str, ...] = ()
    """Web pages of these origins may ask."""
    hosts: tuple[str, ...] | None = tuple(THIS_MACHINE)
    """Names under which the server answers where no key is needed; None for any."""


class ClassOut(BaseModel):
    """A class and how probable it is."""

    label: str
    probability: Annotated[float, Field(ge=0, le=1)]


class PredictionOut(BaseModel):
    """What is said of one image."""

    file: Annotated[str, Field(description="The file's name in the form; empty where there is none.")]
    error: Annotated[str | None, Field(description="Why the image could not be read; then nothing else is said of it.")]
    classes: Annotated[list[ClassOut], Field(description="The most probable first.")]
    none_of_these: Annotated[bool | None, Field(description="null where the model cannot tell.")]
    distance: Annotated[float | None, Field(description="How far the image lies from the training images.")]
    heat_map: Annotated[
        list[list[float]] | None, Field(description="Rows of 0 to 1 over the image: what spoke for the first class.")
    ]


class PredictionsOut(BaseModel):
    """One prediction an image, in order."""

    predictions: list[PredictionOut]


class ModelOut(BaseModel):
    """What is served."""

    name: str
    thaw: Annotated[str, Field(description="The version of Thaw that serves it.")]
    classes: list[str]
    image_size: Annotated[int, Field(description="Pixels a side, to which images are squished.")]
    coverage: Annotated[float, Field(description="Share of images like the validation images that is answered.")]
    none_of_these: Annotated[bool, Field(description='Whether it can say "none of these".')]
    heat_maps: Annotated[bool, Field(description="Whether it can show what spoke for an answer.")]
    sha256: Annotated[str, Field(description="Of its file.")]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


def _problems(*statuses: int) -> dict[int | str, dict]:
    """Named by hand, as FastAPI would describe them in the form of a route's usual answer."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def create_app(
    model: ServedModel, name: str, keys: Keys | None, settings: Settings, started: Callable[[], None] = lambda: None
) -> FastAPI:
    """The ASGI application. `name` is what the model is called, `started` is called once it answers.

    With `keys`, one of them is needed as soon as there is one; without, none ever is.
    """
    server = _Server(model, name, keys, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(server.batcher.work())
        started()
        yield
        work.cancel()

    app = FastAPIOffline(
        title=f"Thaw: {name}",
        version=__version__,
        description="Send images, and get classes with probabilities.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(ModelError, _not_possible)
    server.add_routes(app)
    app.openapi = server.described(app.openapi)  # type: ignore[method-assign]
    app.add_middleware(BodyLimit, max_bytes=settings.max_bytes)
    app.middleware("http")(server.counted)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    if settings.hosts is not None and not server.needs_key():
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False)
    return app


class _Server:
    """The routes, and what they share."""

    def __init__(self, model: ServedModel, name: str, keys: Keys | None, settings: Settings):
        self._model, self._keys, self._settings = model, keys, settings
        self.batcher = Batcher(model.look, settings.batch, settings.longest_queue, self._saw_batch)
        self._about = ModelOut(name=name, thaw=__version__, **model.about())
        self._figures = ServerFigures(lambda: self.batcher.waiting, settings.batch)
        self._decode = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self._locked = False

    def needs_key(self) -> bool:
        """Whether only those with a key may ask: once there was one, although its file may go."""
        self._locked = self._locked or (self._keys is not None and self._keys.exist)
        return self._locked

    def add_routes(self, app: FastAPI) -> None:
        known = [Depends(self._known)]
        app.post(
            "/v1/predict",
            response_model=PredictionsOut,
            dependencies=known,
            openapi_extra={"requestBody": described_body(self._settings.max_images)},
            responses=_problems(400, 401, 408, 413, 415, 422, 503),
            summary="Say what is on images",
            tags=["Model"],
        )(self.predict)
        app.get(
            "/v1/model",
            response_model=ModelOut,
            dependencies=known,
            responses=_problems(401),
            summary="What is served",
            tags=["Model"],
        )(self.about)
        app.get("/health", response_class=PlainTextResponse, summary="Whether the process answers", tags=["Server"])(
            self.health
        )
        app.get(
            "/ready",
            response_class=PlainTextResponse,
            responses=_problems(503),
            summary="Whether images are taken on",
            tags=["Server"],
        )(self.ready)
        app.get(
            "/metrics",
            response_class=PlainTextResponse,
            dependencies=known,
            responses=_problems(401),
            summary="Figures for Prometheus",
            tags=["Server"],
        )(self.metrics)

    def described(self, usual: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        """What tells the OpenAPI description of the moment: keys are part of it once they are needed."""

        def tell() -> dict[str, Any]:
            told = usual()
            told["components"]["schemas"]["Problem"] = Problem.model_json_schema()
            return told if self.needs_key() else _without_key(told)

        return tell

    async def _known(
        self, said: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
    ) -> None:
        """Whoever asks has a key, if one is needed."""
        if self._keys is None or not self.needs_key():
            return
        if said is None or self._keys.owner(said.credentials) is None:
            raise HTTPException(
                401,
                "This model answers with an API key only. Send one as: Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    async def predict(
        self,
        request: Request,
        top_k: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 3,
        coverage: Annotated[
            float | None,
            Query(ge=0.5, le=1, description='Share of images like the validation images that is not "none of these".'),
        ] = None,
        heat_map: Annotated[bool, Query(description="Show what spoke for the first class.")] = False,
    ) -> PredictionsOut:
        """Images come as files of a form (`images`, one or more), as JSON with base64, or as the bytes of one image.

        There is one prediction for each image, in order; that of an image which cannot be read has an `error`.
        """
        threshold = self._model.threshold(coverage)
        pictures = await pictures_of(request, self._settings.max_images)
        pixels = await asyncio.gather(*(self._read(picture) for picture in pictures))
        asked = [self.batcher.ask(one, heat_map) for one in pixels if not isinstance(one, str)]
        outputs = await asyncio.gather(*asked)
        answers = iter(self._model.answers(joined(outputs), top_k, threshold) if outputs else [])
        return PredictionsOut(
            predictions=[
                self._unread(picture, one) if isinstance(one, str) else self._answered(picture, next(answers))
                for picture, one in zip(pictures, pixels, strict=True)
            ]
        )

    async def _read(self, picture: Picture) -> np.ndarray | str:
        """Pixels, or why there are none."""
        if picture.content is None:
            return "It is no base64."
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decode, self._model.read, picture.content)
        except ImageError as error:
            return str(error.__cause__ or error)

    def _unread(self, picture: Picture, why: str) -> PredictionOut:
        self._figures.unread.inc()
        return PredictionOut(file=picture.name, error=why, classes=[], none_of_these=None, distance=None, heat_map=None)

    def _answered(self, picture: Picture, answer: Answer) -> PredictionOut:
        self._figures.images.labels(answer.labels[0]).inc()
        self._figures.none.inc(bool(answer.none_of_these))
        return PredictionOut(
            file=picture.name,
            error=None,
            classes=[
                ClassOut(label=label, probability=min(prob, 1.0))
                for label, prob in zip(answer.labels, answer.probs, strict=True)
            ],
            none_of_these=answer.none_of_these,
            distance=answer.distance,
            heat_map=answer.heat_map,
        )

    async def about(self) -> ModelOut:
        return self._about

    async def health(self) -> str:
        return "ok\n"

    async def ready(self) -> str:
        if self.batcher.waiting >= self._settings.longest_queue:
            raise Busy("More images wait than this server takes on.")
        return "ready\n"

    async def metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._figures.registry), media_type=content_type)

    def _saw_batch(self, images: int) -> None:
        self._figures.batches.observe(images)

    async def counted(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Middleware: count the request by its route, and time it where it is a prediction."""
        began = time.monotonic()
        response = await call_next(request)
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        self._figures.requests.labels(path, str(response.status_code)).inc()
        if path == "/v1/predict":
            self._figures.seconds.observe(time.monotonic() - began)
        return response


def _without_key(described: dict[str, Any]) -> dict[str, Any]:
    """The description of a server that nobody needs a key for."""
    paths = {
        path: {method: {**operation, "security": []} for method, operation in methods.items()}
        for path, methods in described["paths"].items()
    }
    return {**described, "paths": paths}


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": told(error.errors())}, 422)


async def _busy(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})


async def _not_possible(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)
