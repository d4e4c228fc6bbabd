"""Figures of a server in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from regard.errors import require

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 3, 5, 7, 10, 15, 20, 50, 100)


class Metrics:
    """Counters of one server.

    Args:
        paths: the addresses that are counted each; requests for others are counted together.
        waiting: returns the number of requests that wait.
    """

    def __init__(self, paths: Iterable[str], waiting: Callable[[], int]):
        prometheus: Any = require("prometheus_client", "serve", "a server")
        self._prometheus, self._paths = prometheus, frozenset(paths)
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        own = {"registry": self._registry}
        self._requests = prometheus.Counter(
            "regard_requests", "Requests by address and status of the response.", ("path", "status"), **own
        )
        self._seconds = prometheus.Histogram(
            "regard_request_seconds", "Time from the head of a request to the end of its response.", ("path",),
            buckets=_SECONDS, **own,
        )  # fmt: skip
        self._batches = prometheus.Histogram(
            "regard_batch_requests", "Requests that were computed together.", buckets=_BATCHES, **own
        )
        waits = prometheus.Gauge("regard_waiting_requests", "Requests that wait for the model.", **own)
        waits.set_function(waiting)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        path = path if path in self._paths else "other"
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._batches.observe(size)

    def text(self) -> bytes:
        """All figures."""
        text: bytes = self._prometheus.generate_latest(self._registry)
        return text
