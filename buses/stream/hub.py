"""One reader of new events for all streams of a web process; it runs while a stream is open."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from buses.envelope import Envelope
from buses.foreign import OUR_FAULTS
from buses.gaps import Gaps
from buses.reading import newest_id, read_ids
from buses.sources import SOURCES, Source, read
from buses.stream.place import Place
from connections.models import Epoch
from users.tenancy import for_all_tenants

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
TROUBLE_SECONDS = 2.0
BATCH = 500
MOST_WAITING = 5_000  # events that a slow reader has not taken: then its stream ends
Wanted = Callable[[Envelope], bool]


class Item(NamedTuple):
    """An event with the place from which its reader goes on."""

    place: str
    event: Envelope


class Subscription:
    """What one stream receives, on its own event loop."""

    def __init__(self, wanted: Wanted) -> None:
        self.start, self.place = Place(0, {}), ""  # set by the hub
        self.is_too_slow = False
        self.queue: asyncio.Queue[Item] = asyncio.Queue(MOST_WAITING)
        self._wanted, self._loop = wanted, asyncio.get_running_loop()

    def offer(self, events: Sequence[Envelope], before: str, after: str) -> None:
        """Hand over what it wants of one read. Of these only the last one is the place after it:
        who has received a part gets all of them again."""
        mine = [event for event in events if self._wanted(event)]
        items = [Item(before, event) for event in mine[:-1]]
        items += [Item(after, event) for event in mine[-1:]]
        self._loop.call_soon_threadsafe(self._put, items, after)

    def _put(self, items: Sequence[Item], after: str) -> None:
        if self.queue.qsize() + len(items) > MOST_WAITING:
            self.is_too_slow = True
            return
        for item in items:
            self.queue.put_nowait(item)
        if self.queue.empty():
            self.place = after  # nothing of it was wanted: the heartbeat has it


class Hub:
    """Reads what happens, and hands it to all subscriptions."""

    def __init__(self, sources: Sequence[Source] = SOURCES) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._thread: threading.Thread | None = None
        self._gaps: dict[str, Gaps] = {}
        self._epoch = 0

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription, which begins now. Raises DatabaseError."""
        with self._lock:
            if self._thread is None:
                self._begin()
            subscription.start = self._place()
            subscription.place = subscription.start.text()
            self._subscriptions.add(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-hub", daemon=True)
                self._thread.start()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove it; the reader ends with the last one."""
        with self._lock:
            self._subscriptions.discard(subscription)

    def _begin(self) -> None:
        with transaction.atomic(), for_all_tenants():
            self._epoch = current_epoch()
            self._gaps = {one.name: Gaps(newest_id(one.model)) for one in self._sources}

    def _place(self) -> Place:
        return Place(self._epoch, {name: gaps.low_water for name, gaps in self._gaps.items()})

    def _run(self) -> None:
        while True:
            wait = LOOK_SECONDS
            try:
                if self._read_once():
                    wait = 0
            except (DatabaseError, InterfaceError) as error:
                log.warning("streams wait for the database", error=str(error))
                connection.close()
                wait = TROUBLE_SECONDS
            except OUR_FAULTS:
                log.exception("streams cannot be read")
                wait = TROUBLE_SECONDS
            time.sleep(wait)
            with self._lock:
                if not self._subscriptions:
                    self._thread = None
                    connection.close()
                    return

    def _read_once(self) -> bool:
        """Read each source once and hand over what there is; return whether there is more."""
        events: list[Envelope] = []
        after: dict[str, Gaps] = {}
        is_more = False
        with transaction.atomic(), for_all_tenants():
            for source in self._sources:
                found = read_ids(source.model, self._gaps[source.name], BATCH)
                after[source.name] = found.gaps
                made = read(source, found.ids)
                events += [event for event in made if isinstance(event, Envelope)]
                is_more = is_more or found.is_more
        with self._lock:  # who subscribes later begins after these
            before, self._gaps = self._place().text(), after
            place = self._place().text()
            for subscription in list(self._subscriptions):
                try:
                    if events or place != before:
                        subscription.offer(events, before, place)
                except RuntimeError:  # its loop has ended
                    self._subscriptions.discard(subscription)
        return is_more


def current_epoch() -> int:
    """Return the number of the epoch of the database; 0 before the first one."""
    newest = Epoch.objects.order_by("-number").values_list("number", flat=True).first()
    return newest or 0


hub = Hub()
