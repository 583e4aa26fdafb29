"""Is everyone accounted for? The candidates recomputed, the states summed, what must be 0 counted.

Reads only (the alarm apart). DUP, ORPHAN, GHOST and RISEN need the broker's own word: they are
asked of the books that an adapter can show (`brokers/journal.py`), never of our own tables alone.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from brokers.base import BrokerError
from brokers.journal import Journal, KeepsJournal
from brokers.registry import adapter_for
from common.clocks import MarketClock, market_clock, market_now
from common.shown import SHARES, STATES
from common.sql import array, rows, run
from events.models import EventKind
from events.services import emit
from execution.audit import sql
from execution.calls import runtime
from execution.models import AT_BROKER, TERMINAL, Status

log = structlog.get_logger(__name__)
GRACE_SECONDS = 60
NAKED_SECONDS = 5
ALARM_COVERS = timedelta(days=1)
KINDS = """
SELECT DISTINCT type FROM connections_executionconnection WHERE archived_at IS NULL ORDER BY type
"""
LONGER = "SET LOCAL statement_timeout = '120s'"
COUNT = "SELECT count(*) AS n, coalesce((array_agg(about))[1:5], '{{}}') AS some FROM ({}) x"


@dataclass(slots=True)
class AuditReport:
    """What an audit found. examples: the first offences of each counter that is not 0."""

    signals: int
    candidates: int
    states: dict[str, int]
    counters: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)  # broker kinds whose books could not be read

    @property
    def is_clean(self) -> bool:
        """Whether every counter is 0, as far as the books could be read."""
        return not any(self.counters.values())

    @property
    def ok(self) -> bool:
        """Whether it is proven that all is well: an unread book proves nothing."""
        return self.is_clean and not self.unread

    def as_json(self) -> dict[str, Any]:
        """The contract of `manage.py audit --json`, and what explains it."""
        told = asdict(self)
        examples, unread = told.pop("examples"), told.pop("unread")
        return {"ok": self.ok, **told, "examples": examples, "unread": unread}


def audit(signal_id: int | None = None, *, since: datetime | None = None) -> AuditReport:
    """Count over all published OPEN signals, one of them, or those since a market time.

    Whatever their signal, all orders that somebody has to work on and all open positions are looked
    at, unless it is one signal. ORPHAN is counted only then: whose signal an unknown order was for,
    nobody knows. Raises DatabaseError for a database that cannot count in two minutes.
    """
    scope = {"signal": signal_id, "since": since}
    (now,) = rows("SELECT clock_timestamp() AS asked")
    kinds, journals, unread = _journals()
    books = {**_books(journals, since), "kinds": kinds, "asked": now.asked}
    parameters = {**scope, **_limits(), **_clock(), **books}
    with transaction.atomic():
        run(LONGER)  # it holds no lock that anybody waits for
        (totals,) = rows(sql.TOTALS, scope)
        report = AuditReport(totals.signals, totals.candidates, _states(scope), unread=unread)
        for name, question in sql.COUNTERS.items():
            (found,) = rows(COUNT.format(question), parameters)
            report.counters[name] = found.n
            if found.n:
                report.examples[name] = list(found.some)
    return report


def recent() -> AuditReport:
    """Count what must be zero: a day's signals, and all that is live whatever its age."""
    return audit(since=market_now() - ALARM_COVERS)


def audit_and_alarm() -> AuditReport:
    """Count, write down what was counted, and write an alarm event if all is not well.

    Call it when a first look found something: a broker's stop that has just filled and is not told
    yet looks like a position without one, for a moment.
    """
    report = recent()
    keep(report)
    if report.ok:
        return report
    log.error("audit failed", counters=report.counters, examples=report.examples,
              unread=report.unread)  # fmt: skip
    wrong = {name: n for name, n in report.counters.items() if n}
    detail = f"Books that could not be read: {', '.join(report.unread)}." if report.unread else ""
    told = {"counters": wrong, "examples": report.examples, "detail": detail}
    with transaction.atomic():
        emit(EventKind.AUDIT_FAILED, payload=told)
    return report


def keep(report: AuditReport) -> None:
    """Write a run down, for metrics and for whoever asks when it last ran; a month is kept."""
    values = (report.ok, json.dumps(report.counters), json.dumps(report.unread))
    with transaction.atomic():
        run("INSERT INTO execution_auditrun (ok, counters, unread) VALUES (%s, %s, %s)", values)
        run("DELETE FROM execution_auditrun WHERE at < clock_timestamp() - interval '30 days'")


def _states(scope: dict[str, Any]) -> dict[str, int]:
    """The entries by the part of the sum that their state counts as."""
    states = dict.fromkeys(SHARES, 0)
    for row in rows(sql.STATES, scope):
        shown = STATES.get(row.status)
        states[shown.share if shown else "unknown"] += row.n
    return states


def _limits() -> dict[str, Any]:
    return {
        "grace": GRACE_SECONDS,
        "naked": NAKED_SECONDS,
        "proof": settings.FILLCAST_PROOF_GAP_SECONDS,
        "terminal": array(TERMINAL),
        "at_broker": array(AT_BROKER),
        "known": array(status.value for status in Status),
    }


def _clock() -> dict[str, Any]:
    """How machine time becomes the market's: start + (t - anchor) * speed."""
    same = datetime(2000, 1, 1, tzinfo=UTC)
    clock = market_clock() or MarketClock(same, same, 1)
    return {"start": clock.start, "anchor": clock.anchor, "speed": clock.speed}


def _journals() -> tuple[list[str], list[Journal], list[str]]:
    """The books of every kind in use that shows them: kinds, books, and kinds that failed to."""
    kinds, journals, unread = [], [], []
    for row in rows(KINDS):
        try:
            adapter = adapter_for(row.type)
            if isinstance(adapter, KeepsJournal):
                journals.append(runtime.ask(adapter.journal(settings.FILLCAST_INSTALLATION_TAG)))
                kinds.append(row.type)
        except BrokerError as error:
            log.warning("books cannot be read", kind=row.type, error=str(error))
            unread.append(row.type)
        except Exception as error:  # a kind whose library is not installed in this process
            log.warning("no adapter", kind=row.type, error=repr(error))
            unread.append(row.type)
    return kinds, journals, unread


def _books(journals: Sequence[Journal], since: datetime | None) -> dict[str, str]:
    """As arrays for SQL; of what was accepted only what is not older than `since`.

    Two kinds at one broker show the same books: what stands in both is there once.
    """
    accepted = {
        (one.connection_id, one.client_order_id): one
        for journal in journals
        for one in journal.accepted
        if (since is None or one.first_at >= since) and _ours(one)
    }.values()
    held = {
        (one.connection_id, one.broker_position_id): one
        for journal in journals
        for one in journal.held
        if _ours(one)
    }.values()
    return {
        "connections": array(one.connection_id for one in accepted),
        "ids": array(one.client_order_id for one in accepted),
        "times": array(one.times for one in accepted),
        "firsts": array(one.first_at for one in accepted),
        "held_connections": array(one.connection_id for one in held),
        "tickets": array(one.broker_position_id for one in held),
        "sides": array(one.side.value for one in held),
        "held_ids": array(_with_our_tag(one.client_order_id) for one in held),
    }


def _with_our_tag(client_order_id: str) -> str:
    """The id if it is one of ours, else none: owners trade by hand as well."""
    return client_order_id if client_order_id.startswith(settings.FILLCAST_INSTALLATION_TAG) else ""


def _ours(one: Any) -> bool:
    """Books may hold orders of somebody who is no connection of ours."""
    try:
        UUID(one.connection_id)
    except ValueError:
        return False
    return True
