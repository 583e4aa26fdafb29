"""Is everyone accounted for? The candidates recomputed, the states summed, what must be 0 counted.

Reads only (the alarm apart). DUP, ORPHAN, GHOST and RISEN need the broker's own word: they are
asked of the books that an adapter can show (`brokers/broker_books.py`), and of what trading
processes have listed of other brokers' accounts (`listings.py`), never of our own tables alone.
Accounts that could not be listed are named as not judged.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from brokers.base import BrokerError
from brokers.broker_books import AcceptedOrder, BookPosition, BrokerBooks, HasBrokerBooks
from brokers.registry import adapter_for
from common.clocks import MarketClock, market_clock, market_now
from common.errors import InvalidInputError, MisconfiguredError
from common.formatting import SHARES, STATES
from common.sql import array, rows, run
from events.models import EventKind
from events.services import emit
from execution.audit import listings, sql
from execution.audit.listings import Listing, NotJudged
from execution.audit.not_judged import report as report_not_judged
from execution.models import AT_BROKER, TERMINAL, Status
from execution.runtime import trading_runtime

log = structlog.get_logger(__name__)
GRACE_SECONDS = 60
UNPROTECTED_SECONDS = 5
ALARM_COVERS = timedelta(days=1)
BROKER_TYPES = """
SELECT DISTINCT type FROM connections_executionconnection WHERE archived_at IS NULL ORDER BY type
"""
KEEP = """
INSERT INTO execution_auditrun (ok, judged, counters, unread, not_judged)
VALUES (%s, %s, %s, %s, %s)
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
    judged: int = 0  # accounts by what their brokers listed
    not_judged: list[NotJudged] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every counter is 0, as far as the books could be read."""
        return not any(self.counters.values())

    @property
    def ok(self) -> bool:
        """Whether it is proven that all is well: an unread book or account proves nothing."""
        return self.is_clean and not self.unread and not self.not_judged

    @property
    def is_alarming(self) -> bool:
        """Whether operators must hear of it. An account that cannot be read is in error already:
        its owner and operators know."""
        return not self.is_clean or bool(self.unread)

    def as_json(self) -> dict[str, Any]:
        """The contract of `manage.py audit --json`, and what explains it."""
        report = asdict(self)
        last = ("examples", "unread", "judged", "not_judged")
        explained = {name: report.pop(name) for name in last}
        return {"ok": self.ok, **report, **explained}


def audit(signal_id: int | None = None, *, since: datetime | None = None) -> AuditReport:
    """Count over all published OPEN signals, one of them, or those since a market time.

    Whatever their signal, all orders that somebody has to work on and all open positions are looked
    at, unless it is one signal. ORPHAN is counted only then: whose signal an unknown order was for,
    nobody knows. Raises DatabaseError for a database that cannot count in two minutes.
    """
    scope = {"signal": signal_id, "since": since}
    (now,) = rows("SELECT clock_timestamp() AS asked")
    kinds, journals, unread = _journals()
    listed, not_judged = listings.stored([*kinds, *unread], signal_id)
    books = {**_books(journals, listed, since), "kinds": kinds, "asked": now.asked}
    parameters = {**scope, **_limits(), **_clock(), **books}
    with transaction.atomic():
        run(LONGER)  # it holds no lock that anybody waits for
        (totals,) = rows(sql.TOTALS, scope)
        report = AuditReport(totals.signals, totals.candidates, _states(scope), unread=unread)
        report.judged, report.not_judged = len(listed), not_judged
        for name, statement in sql.COUNTERS.items():
            (found,) = rows(COUNT.format(statement), parameters)
            report.counters[name] = found.n
            if found.n:
                report.examples[name] = list(found.some)
    return report


def request_readings() -> list[UUID]:
    """Request what the audit judges accounts by whose brokers show no books; return which accounts
    are to be read."""
    return listings.request(broker_types_with_books())


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
    if not report.is_alarming:
        return report
    log.error("audit failed", counters=report.counters, examples=report.examples,
              unread=report.unread)  # fmt: skip
    wrong = {name: n for name, n in report.counters.items() if n}
    detail = f"Books that could not be read: {', '.join(report.unread)}." if report.unread else ""
    is_reported = {"counters": wrong, "examples": report.examples, "detail": detail}
    with transaction.atomic():
        emit(EventKind.AUDIT_FAILED, payload=is_reported)
    return report


def keep(report: AuditReport) -> None:
    """Write a run down, for metrics and for whoever asks when it last ran; a month is kept.
    Operators get a message about accounts that could not be judged (`not_judged.report`)."""
    not_judged = [asdict(one) for one in report.not_judged]
    values = (
        report.ok,
        report.judged,
        *map(json.dumps, (report.counters, report.unread, not_judged)),
    )
    with transaction.atomic():
        report_not_judged(report.not_judged)
        run(KEEP, values)
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
        "naked": UNPROTECTED_SECONDS,
        "proof": settings.FILLCAST_ABSENCE_GAP_SECONDS,
        "terminal": array(TERMINAL),
        "at_broker": array(AT_BROKER),
        "known": array(status.value for status in Status),
    }


def _clock() -> dict[str, Any]:
    """How machine time becomes the market's: start + (t - anchor) * speed."""
    same = datetime(2000, 1, 1, tzinfo=UTC)
    clock = market_clock() or MarketClock(same, same, 1)
    return {"start": clock.start, "anchor": clock.anchor, "speed": clock.speed}


def _journals() -> tuple[list[str], list[BrokerBooks], list[str]]:
    """The books of every kind in use that shows them: kinds, books, and kinds that failed to."""
    kinds, journals, unread = [], [], []
    for kind in broker_types_with_books():
        try:
            shown = adapter_for(kind)
            assert isinstance(shown, HasBrokerBooks)
            journals.append(
                trading_runtime.run_call(shown.journal(settings.FILLCAST_INSTALLATION_TAG))
            )
            kinds.append(kind)
        except (BrokerError, TimeoutError, OSError) as error:
            log.warning("books cannot be read", kind=kind, error=repr(error))
            unread.append(kind)
    return kinds, journals, unread


def broker_types_with_books() -> list[str]:
    """The kinds in use whose broker shows its books. One whose library this process does not have
    shows none here: its accounts are listed by the process that trades them."""
    return [row.type for row in rows(BROKER_TYPES) if _shows_books(row.type)]


def _shows_books(broker_type: str) -> bool:
    try:
        return isinstance(adapter_for(broker_type), HasBrokerBooks)
    except (ImportError, MisconfiguredError, InvalidInputError) as error:
        log.info("no adapter here", kind=broker_type, error=repr(error))
        return False


def _books(
    journals: Sequence[BrokerBooks], listed: Sequence[Listing], since: datetime | None
) -> dict[str, str]:
    """As arrays for SQL; of what books say was accepted only what is not older than `since`. Lists
    have no older ones.

    Two kinds at one broker show the same books: what stands in both is there once.
    """
    accepted = {
        (one.connection_id, one.client_order_id): one
        for journal in journals
        for one in journal.accepted
        if (since is None or one.first_at >= since) and _ours(one)
    }
    accepted |= {
        (one.connection_id, one.client_order_id): one for each in listed for one in each.accepted
    }
    held = {
        (one.connection_id, one.broker_position_id): one
        for journal in journals
        for one in journal.held
        if _ours(one)
    }
    held |= {
        (one.connection_id, one.broker_position_id): one for each in listed for one in each.held
    }
    return _arrays(accepted.values(), held.values(), listed)


def _arrays(
    accepted: Collection[AcceptedOrder], held: Collection[BookPosition], listed: Sequence[Listing]
) -> dict[str, str]:
    return {
        "connections": array(one.connection_id for one in accepted),
        "ids": array(one.client_order_id for one in accepted),
        "times": array(one.times for one in accepted),
        "executed": array(one.executed for one in accepted),
        "held_connections": array(one.connection_id for one in held),
        "tickets": array(one.broker_position_id for one in held),
        "sides": array(one.side.value for one in held),
        "held_ids": array(_with_our_tag(one.client_order_id) for one in held),
        "listed": array(one.connection_id for one in listed),
        "listed_at": array(one.began for one in listed),
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
