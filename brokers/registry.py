"""Which adapter serves which kind of connection: a table of dotted paths, plus entry points.

A third party's package adds a broker by the entry point group `fillcast.brokers`; nothing in this
repository changes.
"""

import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from brokers.base import BrokerAdapter
from brokers.connection_form import Form
from brokers.types import Capabilities, ConnectionSpec
from common.errors import InvalidInputError
from common.reason_codes import Code

ENTRY_POINTS = "fillcast.brokers"

BUILT_IN: dict[str, str] = {
    "crypto": "brokers.crypto.adapter:create",
    "ibkr": "brokers.ibkr.capabilities:create",
    "mt4": "brokers.dwx.adapter:create",
    "mt5": "brokers.mt5.adapter:create",
    "mt5-dwx": "brokers.dwx.mt5_adapter:create",
    "paper": "brokers.paper.adapter:create",
}


_adapters: dict[str, BrokerAdapter] = {}
_lock = threading.RLock()


@cache
def broker_types() -> tuple[str, ...]:
    """Return every kind that a connection may have, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))}))


def adapter_for(kind: str) -> BrokerAdapter:
    """Return this process's adapter of a kind; it is created, and its libraries imported, once,
    whoever comes first: a second one would open a second session beside the first's.

    Raises InvalidInputError FIELD_INVALID for a kind that is not installed; ImportError where its
    library is missing.
    """
    if (own := _adapters.get(kind)) is None:
        with _lock:
            own = _adapters.get(kind) or new_adapter(kind)
            _adapters[kind] = own
    return own


def clear_cache() -> None:
    """Forget which kinds there are and this process's adapters: a package was added or removed."""
    with _lock:
        _adapters.clear()
        broker_types.cache_clear()


def new_adapter(kind: str) -> BrokerAdapter:
    """Make an adapter of a kind that knows nothing of what this process's own one knows.

    Raises as `adapter_for` does.
    """
    return _factory(kind)()


def form_of(kind: str) -> Form:
    """Return what a kind asks an owner for, also where its library is missing in this process.

    Raises InvalidInputError FIELD_INVALID for a kind that is not installed.
    """
    found: Form | None = getattr(_module(kind), "FORM", None)
    return found if found is not None else adapter_for(kind).form


def capabilities_of(kind: str, spec: ConnectionSpec) -> Capabilities:
    """Return what an account can do, also where the kind's library is missing in this process.

    Raises InvalidInputError FIELD_INVALID for a kind that is not installed.
    """
    found: Callable[[ConnectionSpec], Capabilities] | None = getattr(
        _module(kind), "capabilities_of", None
    )
    return found(spec) if found is not None else adapter_for(kind).capabilities(spec)


def _module(kind: str) -> ModuleType:
    """The module of a kind's factory; importing it needs no broker's library."""
    return import_module(_factory(kind).__module__)


def _factory(kind: str) -> Callable[[], BrokerAdapter]:
    if path := BUILT_IN.get(kind):
        module, _, name = path.partition(":")
        factory: Callable[[], BrokerAdapter] = getattr(import_module(module), name)
        return factory
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == kind:
            loaded: Callable[[], BrokerAdapter] = point.load()
            return loaded
    raise InvalidInputError(
        Code.FIELD_INVALID,
        f"There is no broker kind {kind!r}; known are {', '.join(broker_types())}.",
    )
