"""What calls tell about connections, gathered in the process and written once a second.

A broker that answers is well, whatever it answers; one that refuses our login is in error, and its
owner reads why; so is one that does not answer, unless it is the first time. What only the order
meets (a closed market, a symbol that is unknown or not to be traded, no money) is noted on a
connection that stays well.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from brokers.types import DECISIONS, OrderReport, ReportKind
from common.formatting import with_hint
from common.reason_codes import Code
from common.sql import array, rows
from connections.health.status_updates import RetryPolicy, retry_policy_for
from connections.services import mark_active, mark_errors, mark_failures, mark_refused, mark_used

NOT_CONNECTION_FAULTS = frozenset({
    Code.SEND_DEADLINE, Code.KILL_SWITCH, Code.SESSION_MOVED, Code.UNEXPECTED,
    Code.RATE_LIMITED,  # it answers, and wants less of us: its budget rests
    Code.BROKER_CLOCK,  # our clock is wrong, or we were too slow
})  # fmt: skip


ORDER_ONLY_REJECTIONS = frozenset({
    Code.MARKET_CLOSED, Code.UNKNOWN_SYMBOL_AT_BROKER, Code.NO_MONEY,
    Code.SYMBOL_TRADING_DISABLED, Code.SIDE_NOT_ALLOWED,
})  # fmt: skip
"""Refusals that owners look for at the connection, of which none is a fault of the account; what
was not sent for such a reason is noted as well."""


SENT = """
SELECT connection_id, submitted_at FROM execution_order
WHERE client_order_id = ANY(%s::text[]) AND connection_id = ANY(%s::uuid[])
"""


class HealthRecorder:
    """Collects by `note` from any thread; `write` empties it into the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._healthy: set[UUID] = set()
        self._failed: dict[UUID, Fault] = {}
        self._rejected: dict[UUID, str] = {}
        self._accepted: set[UUID] = set()  # of which an order went through

    def record(self, reports: Iterable[OrderReport]) -> None:
        """Take over what reports say about their connections; the last word of each holds."""
        with self._lock:
            for report in reports:
                connection_id = UUID(report.connection_id)
                fault = fault_of(report)
                if fault is not None:
                    self._failed[connection_id] = fault
                    self._healthy.discard(connection_id)
                elif report.kind not in DECISIONS:  # those are ours: no broker has spoken
                    self._healthy.add(connection_id)
                    self._failed.pop(connection_id, None)
                    self._record_rejection(connection_id, report)
                elif report.kind is ReportKind.NOT_SENT and report.code in ORDER_ONLY_REJECTIONS:
                    self._record_rejection(connection_id, report)

    def _record_rejection(self, connection_id: UUID, report: OrderReport) -> None:
        if report.code in ORDER_ONLY_REJECTIONS and report.kind in (
            ReportKind.REJECTED,
            ReportKind.NOT_SENT,
        ):
            self._accepted.discard(connection_id)
            self._rejected[connection_id] = _error_message(report.code, report.detail)
        elif report.kind is not ReportKind.REJECTED:
            self._rejected.pop(connection_id, None)
            self._accepted.add(connection_id)

    def write(self) -> None:
        """Write down what was gathered since the last time."""
        with self._lock:
            healthy, failed = self._healthy, self._failed
            rejected, accepted = self._rejected, self._accepted
            self._healthy, self._failed, self._rejected, self._accepted = set(), {}, {}, set()
        faults = sorted(failed.items(), key=str)
        began = _sent_at(failed) if failed else {}
        for again in (RetryPolicy.BACKOFF, RetryPolicy.NEXT_ROUND, RetryPolicy.DISABLED):
            if errors := [(one, fault.sentence) for one, fault in faults if fault.again is again]:
                mark_errors(errors, retry=again, began=began)
        if unanswered := [
            (one, fault.sentence) for one, fault in faults if fault.again is RetryPolicy.IMMEDIATE
        ]:
            mark_failures(unanswered, began=began)
        if healthy:
            mark_active(healthy, cleared=accepted)
        if rejected:
            mark_refused(list(rejected.items()))
        if healthy or failed:
            mark_used([*healthy, *failed])


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a connection, for its owner. again: LOOK, unless its broker says it.
    client_order_id: the order that met it."""

    sentence: str
    again: RetryPolicy
    client_order_id: str


def _sent_at(failed: Mapping[UUID, Fault]) -> dict[UUID, datetime | None]:
    """Return when the orders that met these faults were sent: with what the account was then."""
    named = array({fault.client_order_id for fault in failed.values()})
    return {row.connection_id: row.submitted_at for row in rows(SENT, (named, array(failed)))}


def fault_of(report: OrderReport) -> Fault | None:
    """Return what is wrong if the report says that the connection is unwell."""
    code = report.code or Code.REJECTED_BY_BROKER
    if (
        code in ORDER_ONLY_REJECTIONS
    ):  # it concerns the symbol, its direction or the size: other orders go on
        return None
    again = retry_policy_for(code)
    is_fault = (
        (report.kind is ReportKind.REJECTED and again is not RetryPolicy.IMMEDIATE)
        or (report.kind is ReportKind.NOT_SENT and code not in NOT_CONNECTION_FAULTS)
        or (report.kind is ReportKind.UNKNOWN and code not in NOT_CONNECTION_FAULTS)
    )
    if not is_fault:
        return None
    return Fault(_error_message(code, report.detail), again, report.client_order_id)


def _error_message(code: Code, detail: str) -> str:
    """What its owner reads as the account's last error: what is so, and what helps."""
    return with_hint(f"{code.sentence} {detail}".strip(), code.hint)
