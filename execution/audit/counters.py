"""The audit: recompute the candidates, sum the states, count what must be 0.

`counter_help.py` states the meaning of each counter and what to do if it is not 0.

An audit only reads, apart from its alert. DUP, ORPHAN, GHOST and RISEN compare with data of the
broker: the books that an adapter can read (`brokers/broker_books.py`), and for other brokers the
accounts that trading processes have listed (`listings.py`). Accounts that could not be listed are
reported as not judged.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from brokers.base import BrokerError
from brokers.broker_books import AcceptedOrder, BookPosition, BrokerBooks, HasBrokerBooks
from brokers.registry import adapter_for, capabilities_if_usable
from common.clocks import MarketClock, market_clock, market_now
from common.db.sql import Query, array, database_now, rows, run
from common.operational.current import settings_now
from common.web.formatting import SHARES, STATES
from connections.selectors import TYPES_AND_LANES_SQL
from events.models import EventKind
from events.services import emit
from execution.audit import listings, sql
from execution.audit.listings import Listing, NotJudged
from execution.models import AT_BROKER, TERMINAL, Status
from execution.runtime import trading_runtime

log = structlog.get_logger(__name__)
GRACE_SECONDS = 60
UNPROTECTED_SECONDS = 5
ALERT_COVERS = timedelta(days=1)


class BrokerTypeRow(NamedTuple):
    """A broker type in use."""

    type: str


class Findings(NamedTuple):
    """What a counter found: how many, and the first of them."""

    number: int
    examples: list[str]


BROKER_TYPES = Query(
    BrokerTypeRow,
    f"SELECT DISTINCT type FROM ({TYPES_AND_LANES_SQL}) c ORDER BY type",
)
STORE = """
INSERT INTO execution_auditrun (ok, judged, counters, unread, not_judged)
VALUES (%s, %s, %s, %s, %s)
"""
LONG_TIMEOUT = "SET LOCAL statement_timeout = '120s'"
COUNT = """
SELECT count(*) AS number, coalesce((array_agg(about))[1:5], '{{}}') AS examples FROM ({}) x
"""


DETAILS = ("examples", "unread", "judged", "not_judged")  # last in the JSON


@dataclass(slots=True)
class AuditReport:
    """The result of an audit.

    signals, candidates: how many were audited. states: entries by part of the sum. examples: the
    first rows of each counter that is not 0. unread: broker types whose books could not be read.
    judged: how many accounts were audited by what their brokers listed; not_judged: the others.
    """

    signals: int
    candidates: int
    states: dict[str, int]
    counters: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    judged: int = 0
    not_judged: list[NotJudged] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every counter is 0, for the books and accounts that could be read."""
        return not any(self.counters.values())

    @property
    def ok(self) -> bool:
        """Whether the audit proves that all is well; an unread book or account proves nothing."""
        return self.is_clean and not self.unread and not self.not_judged

    @property
    def needs_alert(self) -> bool:
        """Whether to alert operators. An account that cannot be read has an error alert already."""
        return not self.is_clean or bool(self.unread)

    def as_json(self) -> dict[str, Any]:
        """Return the report as `manage.py audit --json` prints it."""
        report = asdict(self)
        details = {name: report.pop(name) for name in DETAILS}
        return {"ok": self.ok, **report, **details}


def audit(signal_id: int | None = None, *, since: datetime | None = None) -> AuditReport:
    """Audit all published OPEN signals, one of them, or those since a market time.

    Without signal_id the audit also covers every live order and every open position, whatever
    their signal, and ORPHAN: an unknown order's signal is not known. Raises DatabaseError if a
    count takes more than two minutes.
    """
    scope = {"signal": signal_id, "since": since}
    books_read_at = database_now()
    read, books, unread = _read_books()
    listed, not_judged = listings.stored([*read, *unread], signal_id)
    parameters = {
        **scope,
        **_limits(),
        **_clock(),
        **_book_arrays(books, listed, since),
        "broker_types": read,
        "books_read_at": books_read_at,
    }
    with transaction.atomic():
        run(LONG_TIMEOUT)  # it holds no lock that others wait for
        (totals,) = rows(sql.TOTALS, scope)
        report = AuditReport(totals.signals, totals.candidates, _states(scope), unread=unread)
        report.judged, report.not_judged = len(listed), not_judged
        for name, statement in sql.COUNTERS.items():
            (counted,) = rows(Query(Findings, COUNT.format(statement)), parameters)
            report.counters[name] = counted.number
            if counted.number:
                report.examples[name] = counted.examples
    return report


def request_readings() -> list[UUID]:
    """Request listings of the accounts whose brokers have no books; return those to be read."""
    return listings.request(broker_types_with_books())


def recent() -> AuditReport:
    """Audit the last day's signals, and all that is live whatever its age."""
    return audit(since=market_now() - ALERT_COVERS)


def audit_and_alert() -> AuditReport:
    """Audit, store the run, and write an alert event if a counter is not 0 or a book is unread.

    Call it when a first audit found something: for a moment, a broker's stop that has just filled
    looks like a position without a stop, until its report comes.
    """
    report = recent()
    store_run(report)
    if not report.needs_alert:
        return report
    log.error("audit failed", counters=report.counters, examples=report.examples,
              unread=report.unread)  # fmt: skip
    wrong = {name: number for name, number in report.counters.items() if number}
    detail = f"Books that could not be read: {', '.join(report.unread)}." if report.unread else ""
    with transaction.atomic():
        emit(
            EventKind.AUDIT_FAILED,
            payload={"counters": wrong, "examples": report.examples, "detail": detail},
        )
    return report


def store_run(report: AuditReport) -> None:
    """Store a run for metrics and pages; `execution.retention` states for how long.

    Also notifies operators of accounts that could not be judged (`listings.report_not_judged`).
    """
    not_judged = [asdict(item) for item in report.not_judged]
    values = (
        report.ok,
        report.judged,
        *map(json.dumps, (report.counters, report.unread, not_judged)),
    )
    with transaction.atomic():
        listings.report_not_judged(report.not_judged)
        run(STORE, values)


def _states(scope: dict[str, Any]) -> dict[str, int]:
    """Return the number of entries by the part of the sum that their status counts to."""
    states = dict.fromkeys(SHARES, 0)
    for row in rows(sql.STATES, scope):
        label = STATES.get(row.status)
        states[label.share if label else "unknown"] += row.number
    return states


def _limits() -> dict[str, Any]:
    return {
        "grace": GRACE_SECONDS,
        "unprotected": UNPROTECTED_SECONDS,
        "absence_gap": settings_now().execution.absence_gap_seconds,
        "terminal": array(TERMINAL),
        "at_broker": array(AT_BROKER),
        "known": array(status.value for status in Status),
    }


def _clock() -> dict[str, Any]:
    """Return how to convert machine time to market time: start + (t - anchor) * speed."""
    any_time = datetime(2000, 1, 1, tzinfo=UTC)
    clock = market_clock() or MarketClock(any_time, any_time, 1)
    return {"start": clock.start, "anchor": clock.anchor, "speed": clock.speed}


def _read_books() -> tuple[list[str], list[BrokerBooks], list[str]]:
    """Read the books of all broker types in use that have them.

    Returns the broker types that were read, their books, and the broker types whose read failed.
    """
    read, books, unread = [], [], []
    for broker_type in broker_types_with_books():
        try:
            adapter = adapter_for(broker_type)
            assert isinstance(adapter, HasBrokerBooks)
            books.append(
                trading_runtime.run_call(adapter.journal(settings.FILLCAST_INSTALLATION_TAG))
            )
            read.append(broker_type)
        except (BrokerError, TimeoutError, OSError) as error:
            log.warning("books cannot be read", broker_type=broker_type, error=repr(error))
            unread.append(broker_type)
    return read, books, unread


def broker_types_with_books() -> list[str]:
    """Return the broker types in use whose adapter can read the broker's books.

    A type whose library this process lacks is left out; the process that trades its accounts lists
    them.
    """
    return [row.type for row in rows(BROKER_TYPES) if _has_books(row.type)]


def _has_books(broker_type: str) -> bool:
    if capabilities_if_usable(broker_type, with_library=True) is None:
        return False
    return isinstance(adapter_for(broker_type), HasBrokerBooks)


def _book_arrays(
    books: Sequence[BrokerBooks], listed: Sequence[Listing], since: datetime | None
) -> dict[str, str]:
    """Return books and listings as arrays for SQL, accepted orders only since `since`.

    Two broker types of one broker have the same books; each order and position counts once.
    """
    accepted = {
        (order.connection_id, order.client_order_id): order
        for book in books
        for order in book.accepted
        if (since is None or order.first_at >= since) and _is_of_a_connection(order)
    }
    accepted |= {  # listings contain no older ones
        (order.connection_id, order.client_order_id): order
        for listing in listed
        for order in listing.accepted
    }
    positions = {
        (position.connection_id, position.broker_position_id): position
        for book in books
        for position in book.positions
        if _is_of_a_connection(position)
    }
    positions |= {
        (position.connection_id, position.broker_position_id): position
        for listing in listed
        for position in listing.positions
    }
    return _arrays(accepted.values(), positions.values(), listed)


def _arrays(
    accepted: Collection[AcceptedOrder],
    positions: Collection[BookPosition],
    listed: Sequence[Listing],
) -> dict[str, str]:
    return {
        "connections": array(order.connection_id for order in accepted),
        "ids": array(order.client_order_id for order in accepted),
        "times": array(order.times for order in accepted),
        "executed": array(order.executed for order in accepted),
        "held_connections": array(position.connection_id for position in positions),
        "tickets": array(position.broker_position_id for position in positions),
        "sides": array(position.side.value for position in positions),
        "held_ids": array(_id_if_ours(position.client_order_id) for position in positions),
        "listed": array(listing.connection_id for listing in listed),
        "listed_at": array(listing.began for listing in listed),
    }


def _id_if_ours(client_order_id: str) -> str:
    """Return the id if it has our tag, else "": owners also trade by hand."""
    return client_order_id if client_order_id.startswith(settings.FILLCAST_INSTALLATION_TAG) else ""


def _is_of_a_connection(item: AcceptedOrder | BookPosition) -> bool:
    """Return whether it names a connection; books may contain orders of other installations."""
    try:
        UUID(item.connection_id)
    except ValueError:
        return False
    return True
