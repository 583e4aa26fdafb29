"""Brokers that tell nothing by themselves: their working orders and open positions are polled, and
which stops and targets the broker holds for them: it may drop one that it has confirmed.

One pick of due accounts for each process and round, with SKIP LOCKED; what is told goes through
apply_reports like everything else. An account is due each `update_interval_seconds` of its
settings, FILLCAST_UPDATE_INTERVAL_SECONDS unless it says so.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from time import monotonic
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings

from brokers.answers import Answers
from brokers.messages import BrokerOrder, BrokerPosition, ConnectionSpec, OrderReport
from brokers.registry import adapter_for, kinds
from common.clocks import market_at, market_now
from common.errors import MisconfiguredError
from common.halving import all_or_halves
from common.sql import array, columns, rows, run
from connections.health import OURS, TELL, UNUSABLE, Again, mark_errors
from connections.lanes import IN_LANES, in_held
from connections.selectors import SPEC_COLUMNS, spec_from_row
from execution.calls import asking, runtime
from execution.drift.reconcile import hear_levels, reconcile
from execution.drift.resting import Look, begin, settle_orders

log = structlog.get_logger(__name__)

LEAST_SECONDS = 0.2
ALL_SECONDS = 5  # between comparisons where executions cannot be asked for
FAILED_SECONDS = 5  # after who could not be asked
UNUSABLE_SECONDS = 30  # at most, after an answer that could not be used: less than SOON_SECONDS
PATIENCE_SECONDS = 1.0
AT_MOST = 2000  # under way in one process
OVERLAP = timedelta(seconds=60)  # the broker's clock and books may lag behind ours

# While an account is being asked nobody else takes it; if its process dies, somebody does then.
DUE = f"""
WITH due AS (
  SELECT r.connection_id FROM execution_accountreading r
  JOIN connections_executionconnection c ON c.id = r.connection_id
  WHERE c.type = ANY(%(kinds)s::text[]) AND c.archived_at IS NULL AND {IN_LANES}
    AND c.broker_host NOT IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
    AND (r.poll_after IS NULL OR r.poll_after <= clock_timestamp())
    AND (EXISTS (SELECT FROM execution_order o WHERE o.connection_id = c.id
        AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
      OR EXISTS (SELECT FROM positions_executionposition p WHERE p.connection_id = c.id
        AND p.quantity > 0))
  ORDER BY r.poll_after NULLS FIRST LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
), taken AS (
  UPDATE execution_accountreading r
  SET poll_after = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM due WHERE r.connection_id = due.connection_id
  RETURNING r.connection_id, r.fills_until
)
SELECT t.connection_id, {SPEC_COLUMNS}, c.broker_host, coalesce(t.fills_until, least(
    (SELECT min(p.opened_at) FROM positions_executionposition p
     WHERE p.connection_id = c.id AND p.quantity > 0),
    (SELECT min(s.published_at) FROM execution_order o JOIN signals_signal s ON s.id = o.signal_id
     WHERE o.connection_id = c.id AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED',
       'CANCEL_REQUESTED')))) AS since, statement_timestamp() AS began,
  EXISTS (SELECT FROM positions_executionposition p WHERE p.connection_id = c.id
    AND p.quantity > 0 AND (p.sl_guardian = 'BROKER' OR p.tp_guardian = 'BROKER')) AS keeps_levels
FROM taken t JOIN connections_executionconnection c ON c.id = t.connection_id
"""

# Rows are locked in the order of their ids, as by whoever asks for comparisons.
DONE = """
WITH told AS (
  SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::double precision[])
  AS t(connection_id, fills_until, began, every)
), locked AS (
  SELECT r.connection_id FROM execution_accountreading r JOIN told USING (connection_id)
  ORDER BY r.connection_id FOR NO KEY UPDATE OF r
)
UPDATE execution_accountreading r SET fills_until = coalesce(t.fills_until, r.fills_until),
  poll_after = greatest(clock_timestamp(), t.began + make_interval(secs => t.every))
FROM told t JOIN locked USING (connection_id) WHERE r.connection_id = t.connection_id
"""


HELD = """
UPDATE execution_accountreading SET poll_after = clock_timestamp() + make_interval(secs => %s)
WHERE connection_id IN (SELECT connection_id FROM execution_accountreading
  WHERE connection_id = ANY(%s::uuid[]) ORDER BY connection_id FOR NO KEY UPDATE)
"""


@dataclass(eq=False, slots=True)
class Asked:
    """An account under way. since: from when on its executions are asked for, None where they
    cannot be; fills: what it told of them, None if nothing; positions: read for their levels, None
    if that was not needed or failed."""

    row: Any
    look: Look
    read_to: datetime
    since: datetime | None
    fills: list[OrderReport] | None = None
    positions: list[BrokerPosition] | None = None
    is_usable: bool = True

    @property
    def broker_host(self) -> str:
        """Where it is asked."""
        return str(self.row.broker_host)

    @property
    def connection_id(self) -> UUID:
        """Which account it is."""
        found: UUID = self.row.connection_id
        return found


Orders = list[BrokerOrder]
Told = Sequence[tuple[Asked, Orders | Exception]]
# What this process has asked and not written yet: who hangs is written in a later round.
_under_way: WeakKeyDictionary[runtime.Runtime, Answers[Orders]] = WeakKeyDictionary()


def poll(limit: int = 200) -> int:
    """Ask the accounts that are due what became of their orders; return how many were asked.

    Waits a second for them; what comes later is written by the next round.
    """
    silent = kinds_without_events()
    if not silent:
        return 0
    calls = _under_way.setdefault(runtime.present(), asking.calls_one_by_one(parts=3))
    until = monotonic() + PATIENCE_SECONDS
    asked = 0
    while calls.left < AT_MOST:
        begun = _begin(calls, silent, limit)
        asked += begun
        if begun < limit:
            break
    while calls.left and (seconds := until - monotonic()) > 0:
        if group := calls.group(seconds):
            write_or_halve(group)
            _compare(group)
    return asked


def _begin(calls: Answers[Orders], silent: Sequence[str], limit: int) -> int:
    due = rows(DUE, {"kinds": array(silent), "limit": limit, "lease": _lease(), **in_held()})
    if not due:
        return 0
    # By the database's clock: the next poll may be another host's, and hosts' clocks differ.
    read_to = market_at(due[0].began)
    look = begin({row.connection_id: row for row in due})
    asked = [Asked(row, look, read_to, _since(row, read_to)) for row in due]
    calls.start([(one, partial(_ask, one)) for one in asked])
    return len(due)


def _since(row: Any, read_to: datetime) -> datetime | None:
    """Where our clock is behind the database's, by ours: adapters put right by how much ours is
    ahead of the broker's, and know nothing of the database's."""
    if not asking.can_tell_fills(row):
        return None
    ahead = max(timedelta(0), read_to - market_now())
    return min(row.since or read_to, read_to) - ahead - OVERLAP


async def _ask(asked: Asked) -> Orders:
    adapter, spec = adapter_for(asked.row.type), spec_from_row(asked.row)
    if asked.since is not None:
        with suppress(Exception):  # they are asked for again, from the same time on
            asked.fills = await asking.in_time(adapter.fills_since(spec, asked.since))
        if asked.row.keeps_levels:  # elsewhere positions are compared
            with suppress(Exception):  # they are read again by the next poll
                asked.positions = await asking.in_time(adapter.positions(spec))
    return await asking.in_time(adapter.open_orders(spec))


def write_or_halve(group: Told) -> None:
    """Write what accounts told; one whose answer cannot be used is in error, and nobody else's.

    What is no account's fault is raised.
    """
    all_or_halves(
        group, _write, lambda told, fault: _set_aside(told[0], fault), faults=UNUSABLE, ours=OURS
    )


def _set_aside(asked: Asked, error: Exception) -> None:
    """Its owner reads why. It is noted at each poll, and polled oftener than accounts are read:
    so the error stays until its orders can be used again, and ends with the next read."""
    log.error(
        "an account cannot be polled", connection=str(asked.row.connection_id), exc_info=error
    )
    sentence = f"What the broker says of the orders cannot be used ({type(error).__name__}). {TELL}"
    connection_id = asked.row.connection_id
    mark_errors(
        [(connection_id, sentence)], again=Again.SOON, began={connection_id: asked.row.began}
    )
    asked.fills = None  # nothing of it is known to be written
    asked.is_usable = False
    run(DONE, columns([_done(asked, is_told=False)], 4))


def _write(group: Told) -> None:
    """Executions first: what they do not explain of the orders is looked up."""
    asking.apply_missed([report for asked, _ in group for report in asked.fills or ()])
    told = {asked: answer for asked, answer in group if isinstance(answer, list)}
    for look in {id(asked.look): asked.look for asked in told}.values():
        theirs = {a.row.connection_id: orders for a, orders in told.items() if a.look is look}
        settle_orders(look, theirs)  # what is left of it is the comparison's
        hear_levels(
            look,
            {
                a.row.connection_id: asking.Snapshot(a.positions, orders)
                for a, orders in told.items()
                if a.look is look and a.positions is not None
            },
        )
    compared = {asked for asked in told if asked.since is None}
    run(HELD, (_lease(), array([asked.row.connection_id for asked in compared])))
    done = [_done(asked, asked in told) for asked, _ in group if asked not in compared]
    run(DONE, columns(done, 4))


def _compare(group: Told) -> None:
    """Where executions cannot be asked for, positions are compared; only then are they done."""
    if others := [
        asked
        for asked, answer in group
        if asked.since is None and asked.is_usable and isinstance(answer, list)
    ]:
        reconcile([asked.row.connection_id for asked in others])
        run(DONE, columns([_done(asked, is_told=True) for asked in others], 4))


def _lease() -> float:
    """Seconds for which nobody else asks an account that is being asked."""
    return 4 * float(settings.FILLCAST_CALL_TIMEOUT_SECONDS)


def _done(asked: Asked, is_told: bool) -> tuple[Any, ...]:
    seconds = interval_of(asked.row.settings)
    if asked.since is None:
        seconds = max(ALL_SECONDS, seconds)
    if not is_told:
        seconds = max(FAILED_SECONDS, seconds)
    if not asked.is_usable:
        seconds = min(UNUSABLE_SECONDS, seconds)
    read_to = None if asked.fills is None else asked.read_to
    return asked.row.connection_id, read_to, asked.look.began, seconds


def interval_of(connection_settings: Any) -> float:
    """Seconds between two polls of an account; nonsense in its settings counts as not said."""
    said = connection_settings.get("update_interval_seconds")
    if isinstance(said, bool) or not isinstance(said, int | float):
        said = settings.FILLCAST_UPDATE_INTERVAL_SECONDS
    return max(LEAST_SECONDS, float(said))


@cache
def kinds_without_events() -> tuple[str, ...]:
    """The broker kinds of this process that tell nothing by themselves."""
    return tuple(kind for kind in kinds() if _is_silent(kind))


def _is_silent(kind: str) -> bool:
    try:
        can = adapter_for(kind).capabilities(ConnectionSpec(connection_id="", account=""))
    except (ImportError, MisconfiguredError):
        return False  # another process has this kind's library and polls it
    return not can.event_stream
