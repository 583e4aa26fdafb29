"""The adapter of each broker type: a table of dotted paths, plus entry points.

A third party's package adds a broker by the entry point group `fillcast.brokers`, without a change
in this repository.
"""

import logging
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter
from brokers.connection_form import Form
from brokers.counted_calls import count_calls
from brokers.types import ConnectionSpec
from common.errors import InvalidInputError
from common.reason_codes import Code

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "fillcast.brokers"

BUILT_IN: dict[str, str] = {
    "crypto": "brokers.crypto.adapter:create",
    "ibkr": "brokers.ibkr.factory:create",
    "mt4": "brokers.dwx.adapter:create",
    "mt5": "brokers.mt5.adapter:create",
    "mt5-dwx": "brokers.dwx.mt5_adapter:create",
    "paper": "brokers.paper.adapter:create",
}


log = logging.getLogger(__name__)
_adapters: dict[str, BrokerAdapter] = {}
_lock = threading.RLock()


@cache
def broker_types() -> tuple[str, ...]:
    """Return every installed broker type, sorted."""
    return tuple(sorted({*BUILT_IN, *_added()}))


def is_built_in(broker_type: str) -> bool:
    """Return whether the adapter of a broker type is ours: not of a third party's package."""
    return broker_type in BUILT_IN


def adapter_for(broker_type: str) -> BrokerAdapter:
    """Return this process's only adapter of a broker type; the first call creates it.

    A second adapter would open a second session beside the first. Creating it imports the broker's
    libraries.

    Raises InvalidInputError FIELD_INVALID if the broker type is not installed; ImportError if its
    library is missing.
    """
    if (adapter := _adapters.get(broker_type)) is None:
        with _lock:
            adapter = _adapters.get(broker_type) or new_adapter(broker_type)
            count_calls(adapter, broker_type)
            _adapters[broker_type] = adapter
    return adapter


def clear_cache() -> None:
    """Drop this process's adapters and the list of broker types: a package came or went."""
    with _lock:
        _adapters.clear()
        broker_types.cache_clear()
        _added.cache_clear()


def new_adapter(broker_type: str) -> BrokerAdapter:
    """Create an adapter that shares no state with this process's own. Raises as `adapter_for`."""
    return _factory(broker_type)()


def form_of(broker_type: str) -> Form:
    """Return a broker type's connection form, even if its library is missing in this process.

    Raises InvalidInputError FIELD_INVALID if the broker type is not installed.
    """
    form: Form | None = getattr(_module(broker_type), "FORM", None)
    return form if form is not None else adapter_for(broker_type).form


def capabilities_of(broker_type: str, spec: ConnectionSpec) -> Capabilities:
    """Return what an account supports, even if the broker's library is missing in this process.

    Raises InvalidInputError FIELD_INVALID if the broker type is not installed.
    """
    function: Callable[[ConnectionSpec], Capabilities] | None = getattr(
        _module(broker_type), "capabilities_of", None
    )
    if function is not None:
        return function(spec)
    return adapter_for(broker_type).capabilities(spec)


def capabilities_if_usable(broker_type: str, *, with_library: bool) -> Capabilities | None:
    """Return what a broker type supports whatever its account's settings; None if this process
    cannot use the type, because its package is missing, broken or misconfigured.

    Work for many broker types goes on with the others. with_library: create the adapter, which
    imports the broker's library.
    """
    spec = ConnectionSpec(connection_id="", account="")
    try:
        if with_library:
            return adapter_for(broker_type).capabilities(spec)
        return capabilities_of(broker_type, spec)
    except Exception as error:  # any: importing a broken package may raise anything
        # A library that is not installed here is normal: other processes have it.
        level = logging.INFO if isinstance(error, ImportError) else logging.WARNING
        log.log(level, "broker type %s cannot be used in this process: %r", broker_type, error)
        return None


def _module(broker_type: str) -> ModuleType:
    """Import the module of the factory; that needs no broker's library."""
    return import_module(_factory(broker_type).__module__)


def _factory(broker_type: str) -> Callable[[], BrokerAdapter]:
    if path := BUILT_IN.get(broker_type):
        module, _, name = path.partition(":")
        factory: Callable[[], BrokerAdapter] = getattr(import_module(module), name)
        return factory
    if (point := _added().get(broker_type)) is not None:
        loaded: Callable[[], BrokerAdapter] = point.load()
        return loaded
    raise InvalidInputError(
        Code.FIELD_INVALID,
        f"There is no broker type {broker_type!r}. Installed: {', '.join(broker_types())}.",
    )


@cache  # reading the entry points of all packages takes milliseconds
def _added() -> "dict[str, EntryPoint]":
    """Return the entry points of third parties' broker types, by name."""
    from importlib.metadata import entry_points  # it imports email and zipfile: only this needs it

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINTS):
        found.setdefault(point.name, point)
    return found
