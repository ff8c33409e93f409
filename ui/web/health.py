"""What monitoring asks the server, which tells no secrets and changes nothing.

GET /health    200 as long as the process answers
GET /ready     200 when the database can be read and written and its tables are up to date; else 503 with a sentence
GET /metrics   figures for Prometheus; those of the workspace are at most `KEPT_S` old
"""

import threading
import time
from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from streamlit import runtime

from learner.errors import ThawError
from learner.operations.figures import Figures, figures_of
from learner.operations.readiness import require_ready
from learner.store import Store
from learner.version import __version__
from learner.workspace import Workspace

KEPT_S = 5.0
"""For so long the figures of the workspace are not asked for again."""
_FRESH = {"Cache-Control": "no-store"}


class Figured(Collector):
    """The workspace's figures, asked for once in `KEPT_S` however many ask."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._found: Figures | None = None
        self._until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Every figure; where the database cannot be read, only that, and what needs none."""
        yield InfoMetricFamily("thaw", "The version of Thaw.", value={"version": __version__})
        yield _gauge("thaw_page_sessions", "Pages that are open in a browser.", _sessions())
        found = self._newest()
        yield _gauge("thaw_database_up", "1 when the workspace's figures could be read.", int(found is not None))
        if found is None:
            return
        runs = GaugeMetricFamily("thaw_runs", "Runs that were not deleted, by status.", labels=["status"])
        for status, number in found.runs.items():
            runs.add_metric([status], number)
        yield runs
        yield _gauge("thaw_queue_length", "Runs that wait.", found.runs["queued"])
        yield _gauge("thaw_queue_oldest_seconds", "Age of the oldest waiting run; 0 for none.", found.oldest_queued_s)
        yield _gauge("thaw_workers_alive", "Workers that were heard of lately.", found.workers)
        yield _gauge("thaw_datasets", "Data sets.", found.datasets)
        yield _gauge("thaw_images", "Images in the newest version of each data set.", found.images)
        yield _gauge("thaw_disk_free_bytes", "Free on the disk of the workspace.", found.disk_free)
        yield _gauge("thaw_disk_used_bytes", "Used on the disk of the workspace, by anything.", found.disk_used)
        yield _gauge("thaw_uploads_in_progress", "Uploads that have begun and not ended.", found.uploads)

    def _newest(self) -> Figures | None:
        with self._asking:
            if time.monotonic() >= self._until:
                self._found = _figures()
                self._until = time.monotonic() + KEPT_S
            return self._found


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _figures() -> Figures | None:
    workspace = Workspace.current()
    try:
        return figures_of(_store(workspace, workspace.database_url))
    except (ThawError, OSError):
        return None


@lru_cache(maxsize=1)
def _store(workspace: Workspace, _url: str) -> Store:
    return Store(workspace)


def _sessions() -> int:
    """By Streamlit's own count."""
    stats = runtime.get_instance().stats_mgr.get_stats(["active_sessions"]) if runtime.exists() else {}
    return int(sum(getattr(stat, "value", 0) for stat in stats.get("active_sessions", [])))


registry = CollectorRegistry()
"""Of this process: the workspace's figures, and its own memory, time and files."""
registry.register(Figured())
ProcessCollector(registry=registry)


def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=_FRESH)


async def _ready(_request: Request) -> Response:
    try:
        await run_in_threadpool(require_ready, Workspace.current())
    except ThawError as error:
        return PlainTextResponse(f"{error}\n", 503, headers=_FRESH)
    return PlainTextResponse("ready\n", headers=_FRESH)


async def _metrics(request: Request) -> Response:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(await run_in_threadpool(encode, registry), headers={"Content-Type": content_type, **_FRESH})


health_routes = [
    Route("/health", _health),
    Route("/ready", _ready),
    Route("/metrics", _metrics),
]
