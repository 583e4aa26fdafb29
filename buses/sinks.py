"""What a bus must do, and which module speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol
from urllib.parse import urlsplit

from django.conf import settings

from buses.envelope import Envelope


class SinkUnavailable(Exception):
    """Nothing is known about the batch: it is sent again, with the same ids."""


class SinkRefused(Exception):
    """The bus will never take this event; the others of its batch are sent again without it."""

    def __init__(self, envelope_id: str, reason: str) -> None:
        super().__init__(f"{envelope_id}: {reason}")
        self.envelope_id, self.reason = envelope_id, reason


class SinkMisconfigured(Exception):
    """The URL of a sink is wrong, or what it needs is not installed. The message says what to do.

    Raised while a sink is made. It never contains the password of the URL.
    """


class Sink(Protocol):
    """One bus. A sink is used by one thread at a time."""

    name: str
    """Stable and without secrets; for sinks with a URL `name_of(url)`."""

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Write events in this order; return once the bus has confirmed all of them.

        Writing an event again has no effect beyond the first time, as far as the bus compares
        ids. Never waits longer than its own time limit. Raises SinkUnavailable, SinkRefused.
        """

    def close(self) -> None:
        """Give up the connection; may be called twice."""


def _load(module: str) -> Callable[[str], Sink]:
    """Return what makes the sink of a module; its library is imported by the first call."""

    def make(url: str) -> Sink:
        made: Sink = import_module(module).open_sink(url)
        return made

    return make


sinks_by_url: dict[str, Callable[[str], Sink]] = {
    "redis+stream": _load("buses.redis_streams.sink"),
    "rediss+stream": _load("buses.redis_streams.sink"),
    "nats": _load("buses.nats.sink"),
    "kafka": _load("buses.kafka.sink"),
    "clickhouse": _load("buses.clickhouse.sink"),
}
"""By the scheme of the URL. Each module has `open_sink(url) -> Sink`."""


def name_of(url: str) -> str:
    """Return a URL without login, password and options: redis+stream://localhost/fillcast."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"[:200]


def named_urls() -> list[tuple[str, str]]:
    """Return the name and the URL of each bus of this installation, out and in."""
    return [(name_of(url), url) for url in (*settings.SINKS, *settings.INCOMING_BUSES)]


def open_sink(url: str) -> Sink:
    """Return the sink of a URL. Raises SinkMisconfigured."""
    scheme = urlsplit(url).scheme
    if scheme not in sinks_by_url:
        known = ", ".join(f"{name}://" for name in sorted(sinks_by_url))
        raise SinkMisconfigured(f"FILLCAST_BUSES has a URL of {scheme}://; known are {known}.")
    return sinks_by_url[scheme](url)
