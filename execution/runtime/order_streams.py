"""Order streams of accounts whose broker is polled: news lets the account be polled at once.

The poll stays the only way to learn what has happened (`recovery/order_polling.py`); a stream only
states when. So without a stream, or with a broken one, everything is as with polling alone.

One process at a time listens to an account that has a working order or an open position. It writes
its id into the account's row; once its lease as a process has ended, the row is free for another
one. Two that listen for a moment are harmless: each wakes the same poll.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from brokers.base import OrderWatcher
from brokers.registry import adapter_for, broker_types, capabilities_if_usable
from common.clocks import machine_time
from common.process.job_alarm import JobAlarm
from connections.selectors import spec_from_row, spec_without_credentials
from connections.session_lanes import held_lanes
from execution.runtime import stream_claims, trading_runtime
from execution.runtime.order_stream import OrderStream
from execution.runtime.poll_wakes import wake_polls
from execution.runtime.stream_claims import HeldRow, StreamState
from prices import event_loop

SECONDS = 1.0  # between two looks for accounts to listen to
EXPECTED_SECONDS = 0.1  # the same, while orders are being sent
CHECK_SECONDS = 5.0  # between two looks at those that are listened to
LINGER_SECONDS = 30.0  # a stream stays open for so long after the last order and position
MAX_STREAMS = 250  # of one process; further accounts are polled, or another process listens
UNSUPPORTED = "The broker announces no changes of this account's orders: it is polled."
news_alarm = JobAlarm()  # of the job that runs `maintain`

NOT_STARTED = StreamState(None, "")


@dataclass(slots=True)
class _Held:
    """An account that this process holds. stream: None if its broker announces nothing. key: the
    settings it was opened with; (): not yet. open_at: machine_time() at which anything was open."""

    stream: OrderStream | None
    key: tuple[Any, ...]
    open_at: float
    lane: str
    stored: StreamState = NOT_STARTED

    def state(self) -> StreamState:
        if self.stream is not None:
            return StreamState(self.stream.since, self.stream.error)
        return StreamState(None, UNSUPPORTED) if self.key else NOT_STARTED

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()


class OrderStreams:
    """The order streams of one process. One job calls `maintain`."""

    def __init__(self, runtime: trading_runtime.TradingRuntime) -> None:
        self._runtime, self._holder = runtime, runtime.id
        self.types: frozenset[str] = frozenset()  # broker types, once they are known
        self._held: dict[UUID, _Held] = {}
        self._news: dict[UUID, int] = {}  # how many have come; until the polls are woken
        self._lock = threading.Lock()  # of `_news`
        self._claimed_at = self._checked_at = float("-inf")
        self._is_expected = False
        self._closed = threading.Event()
        event_loop.register(self)

    def maintain(self) -> None:
        """Wake the polls of accounts with news; look for accounts to listen to, and to leave."""
        self._wake()
        now = machine_time()
        if self._closed.is_set() or self._runtime.is_draining or not watched_broker_types():
            return
        self.types = frozenset(watched_broker_types())
        self._leave_lost_lanes()
        if now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            self._check(now)
        if now - self._claimed_at >= (EXPECTED_SECONDS if self._is_expected else SECONDS):
            self._is_expected = False
            self._claimed_at = now
            self._claim(now)
        elif self._is_expected:
            news_alarm.set(self._claimed_at + EXPECTED_SECONDS - now)
        self._store()

    def expect(self) -> None:
        """Look for accounts to listen to at once: orders are being sent. From any thread."""
        self._is_expected = True
        news_alarm.set()

    def close(self) -> None:
        """Request the end of all streams; return at once. Another process takes the accounts when
        this one's lease ends."""
        self._closed.set()
        for held in list(self._held.values()):
            held.close()

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the end of all streams. Return whether they have ended."""
        held = list(self._held.values())  # the job may still change it
        return all(one.stream is None or one.stream.wait_ended(seconds) for one in held)

    def _wake(self) -> None:
        with self._lock:
            news = dict(self._news)
        wake_polls(news)
        with self._lock:  # not before: after an error the next run tries again
            self._news = {id_: n for id_, n in self._news.items() if n != news.get(id_)}

    def _claim(self, now: float) -> None:
        # Those whose broker announces nothing cost nothing.
        streams = sum(one.stream is not None or not one.key for one in self._held.values())
        if (limit := MAX_STREAMS - streams) <= 0:
            return
        rows = stream_claims.claim(self._holder, watched_broker_types(), limit)
        for row in rows:  # all of them first: after an error `_check` opens the others
            if row.connection_id in self._held:  # our lease had lapsed: the account was free
                self._leave(row.connection_id)
            self._held[row.connection_id] = _Held(None, (), now, row.lane)
        for row in rows:
            self._listen(row, self._held[row.connection_id])

    def _listen(self, row: HeldRow, before: _Held) -> None:
        """Open the stream of an account that is held without one, unless this process ends."""
        if self._closed.is_set():
            return
        held = self._held[row.connection_id] = self._open(row, before.open_at)
        held.stored = before.stored
        if self._closed.is_set():  # meanwhile, so `close` may have missed it
            held.close()

    def _open(self, row: HeldRow, now: float) -> _Held:
        watcher = adapter_for(row.type)
        is_supported = watcher.capabilities(spec_without_credentials(row)).order_stream
        if not is_supported or not isinstance(watcher, OrderWatcher):
            return _Held(None, _key(row), now, row.lane)
        stream = OrderStream(
            watcher,
            spec_from_row(row),
            self._runtime.dispatcher.loop,
            partial(self._note_news, row.connection_id),
            partial(self._may_connect, row.broker_host, row.lane),
        )
        return _Held(stream, _key(row), now, row.lane)

    def _check(self, now: float) -> None:
        """Leave accounts with nothing open, lost ones, and open streams with new settings again."""
        rows = stream_claims.held(self._holder, watched_broker_types())
        for connection_id, held in list(self._held.items()):
            row = rows.get(connection_id)
            if row is not None and row.is_open:
                held.open_at = now
            if row is None or now - held.open_at > LINGER_SECONDS:
                self._leave(connection_id)
        # Also those whose release has failed, or of which the claim's answer was lost.
        stream_claims.release(self._holder, rows.keys() - self._held.keys())
        for connection_id, held in list(self._held.items()):
            if held.key != _key(row := rows[connection_id]):
                self._leave(connection_id)
                # Kept also if it cannot be opened: the next check tries again, after the others.
                self._held[connection_id] = _Held(None, (), held.open_at, row.lane, held.stored)
                self._listen(row, held)

    def _leave_lost_lanes(self) -> None:
        """Leave accounts whose lane another process may hold now: only that one may call them."""
        lanes = held_lanes()
        lost = [id_ for id_, held in self._held.items() if held.lane not in lanes]
        for connection_id in lost:
            self._leave(connection_id)
        stream_claims.release(self._holder, lost)

    def _leave(self, connection_id: UUID) -> None:
        self._held.pop(connection_id).close()

    def _store(self) -> None:
        """Store the streams that have begun or ceased to deliver."""
        changed: Mapping[UUID, StreamState] = {
            connection_id: state
            for connection_id, held in self._held.items()
            if (state := held.state()) != held.stored
        }
        stream_claims.store(self._holder, changed)
        for connection_id, state in changed.items():
            self._held[connection_id].stored = state

    # ---- on the loop -----------------------------------------------------------------------
    def _note_news(self, connection_id: UUID) -> None:
        with self._lock:
            self._news[connection_id] = self._news.get(connection_id, 0) + 1
        news_alarm.set()

    def _may_connect(self, host: str, lane: str) -> bool:
        return host not in self._runtime.hosts_down and lane in held_lanes()


_streams: WeakKeyDictionary[trading_runtime.TradingRuntime, OrderStreams] = WeakKeyDictionary()


def maintain() -> None:
    """Maintain the order streams of this process: its background job."""
    runtime = trading_runtime.get_runtime()
    streams = _streams.get(runtime)
    if streams is None:
        streams = _streams[runtime] = OrderStreams(runtime)
    streams.maintain()


def expect(types: Collection[str]) -> None:
    """Listen to accounts to which orders of these broker types are being sent: they may be filled
    before this process looks for accounts again."""
    streams = _streams.get(trading_runtime.get_runtime())
    if streams is not None and not streams.types.isdisjoint(types):
        streams.expect()


@cache
def watched_broker_types() -> Sequence[str]:
    """Return the broker types whose adapters can watch orders, in this process."""
    return tuple(name for name in broker_types() if _watches(name))


def _watches(broker_type: str) -> bool:
    capabilities = capabilities_if_usable(broker_type, with_library=False)
    if capabilities is None or capabilities.event_stream:
        return False  # without importing a library that this process may never need
    usable = capabilities_if_usable(broker_type, with_library=True) is not None
    return usable and isinstance(adapter_for(broker_type), OrderWatcher)


def _key(row: HeldRow) -> tuple[Any, ...]:
    """Return what a stream depends on; another value opens it again."""
    sealed = row.sealed_credentials
    return (
        row.account, row.exchange_name, row.settings, None if sealed is None else bytes(sealed),
        row.identity, row.identity_credentials_digest, row.broker_host,
    )  # fmt: skip
