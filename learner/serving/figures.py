"""What a server of a model counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServerFigures:
    """Of one server, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int], largest_batch: int):
        """`waiting` tells how many images wait at the moment."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("thaw_serve_requests", "Answered requests.", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "thaw_serve_request_seconds",
            "From the request's head to the end of its answer, of predictions.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.images = Counter("thaw_serve_images", "Images that were answered.", ["label"], registry=self.registry)
        self.unread = Counter("thaw_serve_unreadable_images", "Images that could not be read.", registry=self.registry)
        self.none = Counter(
            "thaw_serve_none_of_these_images", 'Images of which "none of these" was said.', registry=self.registry
        )
        sizes = [size for size in (1, 2, 4, 8, 16, 32, 64) if size < largest_batch]
        self.batches = Histogram(
            "thaw_serve_batch_images",
            "Images that were computed together.",
            buckets=[*sizes, largest_batch],
            registry=self.registry,
        )
        Gauge("thaw_serve_waiting_images", "Images that wait.", registry=self.registry).set_function(waiting)
