"""Call Python functions at each fill.

A package that is installed beside Fillcast names its functions as entry points:

    [project.entry-points."fillcast.fill_callbacks"]
    ledger = "my_package.fills:on_fill"

Each is a sink of its own in the process `buses`: it is called once a fill is committed, outside of
everything that trades, in order, at least once. One that raises makes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, get_type_hints

import structlog

from buses.callback_points import callback_points
from buses.catalogue import Fill, type_of
from buses.envelope import Envelope
from buses.foreign import error_of
from buses.sinks import SinkMisconfigured, SinkRefused

log = structlog.get_logger(__name__)

AT_ONCE = 20  # rows in one batch: a callback may take a second or two for each
FillCallback = Callable[[Fill], object]
_registered: dict[str, FillCallback] = {}


def register_fill_callback(callback: FillCallback, *, name: str = "") -> FillCallback:
    """Call a function with each fill, in the process that this is called in; return it.

    name: stable, since it finds how far the callback has got; by default module and function.
    """
    own = name or f"{callback.__module__}:{getattr(callback, '__qualname__', type(callback))}"
    if own in _registered and _registered[own] is not callback:
        raise SinkMisconfigured(f"Two fill callbacks have the name {own}: give one another name.")
    _registered[own] = callback
    return callback


def callback_sinks() -> list[CallbackSink]:
    """Return the sink of each callback. An entry point that fails to load is logged, and left."""
    for point in callback_points():
        if point.name not in _registered:
            error = error_of(partial(_load, point))
            if error is not None:
                log.error(
                    "a fill callback cannot be loaded",
                    name=point.name,
                    at=point.value,
                    exc_info=error,
                )
    return [CallbackSink(name, callback) for name, callback in sorted(_registered.items())]


def _load(point: EntryPoint) -> None:
    register_fill_callback(point.load(), name=point.name)


class CallbackSink:
    """Calls one function with each fill; other events are none of its business."""

    def __init__(self, name: str, callback: FillCallback) -> None:
        self.name, self._callback = f"python:{name}", callback
        self._done: set[str] = set()  # of a batch that is sent again without an event

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Call the function with each fill that it has not had in this batch."""
        for one in envelopes:
            if one.type != type_of(Fill) or one.id in self._done:
                continue
            error = error_of(partial(self._callback, fill_of(one)))
            if error is not None:
                log.error("a fill callback failed", sink=self.name, envelope=one.id, exc_info=error)
                raise SinkRefused(one.id, f"{type(error).__name__}: {error}") from error
            self._done.add(one.id)
        self._done.clear()

    def close(self) -> None:
        """Nothing is open."""


def fill_of(envelope: Envelope) -> Fill:
    """Return the fill of an envelope, with decimals and times as Python has them."""
    hints = get_type_hints(Fill)
    values = {
        field.name: _value(envelope.data[field.name], hints[field.name]) for field in fields(Fill)
    }
    return Fill(**values)


def _value(value: Any, hint: Any) -> Any:
    if value is None or not isinstance(value, str):
        return value
    names = str(hint)
    if "Decimal" in names:
        return Decimal(value)
    return datetime.fromisoformat(value) if "datetime" in names else value
