"""Collect what calls show about the health of connections, and write it once a second.

A connection whose broker answers is healthy, whatever the answer. It is in error if its broker
refuses the login, or does not answer more than once. A rejection that concerns only the order (a
closed market, a symbol that is unknown or not tradable, no money) is stored on a connection that
stays healthy.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from brokers.types import DECISIONS, OrderReport, ReportKind
from common.db.sql import array, rows
from common.reason_codes import Code
from common.web.formatting import with_hint
from connections.services import (
    RetryPolicy,
    mark_active,
    mark_errors,
    mark_failures,
    mark_refused,
    mark_used,
    retry_policy_for,
)

NOT_CONNECTION_FAULTS = frozenset({
    Code.SEND_DEADLINE, Code.KILL_SWITCH, Code.SESSION_MOVED, Code.UNEXPECTED,
    Code.RATE_LIMITED,  # the broker answers, and our rate limit backs off
    Code.BROKER_CLOCK,  # our clock is wrong, or we were too slow
    Code.REOPENING_AWAITED,  # only that position waits
})  # fmt: skip

ORDER_ONLY_REJECTIONS = frozenset({
    Code.MARKET_CLOSED, Code.UNKNOWN_SYMBOL_AT_BROKER, Code.NO_MONEY,
    Code.SYMBOL_TRADING_DISABLED, Code.SIDE_NOT_ALLOWED,
})  # fmt: skip
"""Rejections that are no fault of the account but are shown on the connection. The same codes of
orders that were not sent are shown, too."""

SENT = """
SELECT connection_id, submitted_at FROM execution_order
WHERE client_order_id = ANY(%s::text[]) AND connection_id = ANY(%s::uuid[])
"""


class HealthRecorder:
    """Collects facts from any thread by `record`; `write` stores them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._healthy: set[UUID] = set()
        self._failed: dict[UUID, Fault] = {}
        self._rejected: dict[UUID, str] = {}
        self._accepted: set[UUID] = set()  # accounts with an accepted order

    def record(self, reports: Iterable[OrderReport]) -> None:
        """Collect what reports show about their connections; the latest of each counts."""
        with self._lock:
            for report in reports:
                connection_id = UUID(report.connection_id)
                fault = fault_of(report)
                if fault is not None:
                    self._failed[connection_id] = fault
                    self._healthy.discard(connection_id)
                elif report.kind not in DECISIONS:  # a decision of ours is no answer
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
        """Store what was collected since the last call."""
        with self._lock:
            healthy, failed = self._healthy, self._failed
            rejected, accepted = self._rejected, self._accepted
            self._healthy, self._failed, self._rejected, self._accepted = set(), {}, {}, set()
        faults = sorted(failed.items(), key=str)
        began = _sent_at(failed) if failed else {}
        by_policy: dict[RetryPolicy, list[tuple[UUID, str]]] = {}
        for connection_id, fault in faults:
            by_policy.setdefault(fault.retry, []).append((connection_id, fault.sentence))
        for retry in (RetryPolicy.BACKOFF, RetryPolicy.NEXT_ROUND, RetryPolicy.DISABLED):
            if errors := by_policy.get(retry):
                mark_errors(errors, retry=retry, began=began)
        if unanswered := by_policy.get(RetryPolicy.IMMEDIATE):
            mark_failures(unanswered, began=began)
        if healthy:
            mark_active(healthy, cleared=accepted)
        if rejected:
            mark_refused(list(rejected.items()))
        if healthy or failed:
            mark_used([*healthy, *failed])


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a connection.

    sentence: for its owner. retry: IMMEDIATE, unless the code has another policy. client_order_id:
    the order that showed it.
    """

    sentence: str
    retry: RetryPolicy
    client_order_id: str


def _sent_at(failed: Mapping[UUID, Fault]) -> dict[UUID, datetime | None]:
    """Return when the orders with these faults were sent: a fault concerns the settings of then."""
    named = array({fault.client_order_id for fault in failed.values()})
    return {row.connection_id: row.submitted_at for row in rows(SENT, (named, array(failed)))}


def fault_of(report: OrderReport) -> Fault | None:
    """Return the fault of the connection that a report shows, if any."""
    code = report.code or Code.REJECTED_BY_BROKER
    if code in ORDER_ONLY_REJECTIONS:
        return None
    retry = retry_policy_for(code)
    is_fault = (
        (report.kind is ReportKind.REJECTED and retry is not RetryPolicy.IMMEDIATE)
        or (report.kind is ReportKind.NOT_SENT and code not in NOT_CONNECTION_FAULTS)
        or (report.kind is ReportKind.UNKNOWN and code not in NOT_CONNECTION_FAULTS)
    )
    if not is_fault:
        return None
    return Fault(_error_message(code, report.detail), retry, report.client_order_id)


def _error_message(code: Code, detail: str) -> str:
    """Return an account's error for its owner: the sentence with its hint."""
    return with_hint(f"{code.sentence} {detail}".strip(), code.hint)
