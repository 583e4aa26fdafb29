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

from brokers.messages import DECISIONS, OrderReport, ReportKind
from common.codes import Code
from common.shown import with_remedy
from common.sql import array, rows
from connections.health import (
    Again,
    again_of,
    mark_active,
    mark_errors,
    mark_failures,
    mark_refused,
    mark_used,
)

NOT_THE_BROKERS_FAULT = frozenset({
    Code.SEND_DEADLINE, Code.KILL_SWITCH, Code.LANE_LOST, Code.UNEXPECTED,
    Code.RATE_LIMITED,  # it answers, and wants less of us: its budget rests
    Code.BROKER_CLOCK,  # our clock is wrong, or we were too slow
})  # fmt: skip


NOTED = frozenset({
    Code.MARKET_CLOSED, Code.UNKNOWN_SYMBOL_AT_BROKER, Code.NO_MONEY,
    Code.SYMBOL_TRADING_DISABLED, Code.SIDE_NOT_ALLOWED,
})  # fmt: skip
"""Refusals that owners look for at the connection, of which none is a fault of the account; what
was not sent for such a reason is noted as well."""


SENT = """
SELECT connection_id, submitted_at FROM execution_order
WHERE client_order_id = ANY(%s::text[]) AND connection_id = ANY(%s::uuid[])
"""


class Health:
    """Collects by `note` from any thread; `write` empties it into the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._well: set[UUID] = set()
        self._failed: dict[UUID, Fault] = {}
        self._refused: dict[UUID, str] = {}
        self._went: set[UUID] = set()  # of which an order went through

    def note(self, reports: Iterable[OrderReport]) -> None:
        """Take over what reports say about their connections; the last word of each holds."""
        with self._lock:
            for report in reports:
                connection_id = UUID(report.connection_id)
                fault = fault_of(report)
                if fault is not None:
                    self._failed[connection_id] = fault
                    self._well.discard(connection_id)
                elif report.kind not in DECISIONS:  # those are ours: no broker has spoken
                    self._well.add(connection_id)
                    self._failed.pop(connection_id, None)
                    self._note_refusal(connection_id, report)
                elif report.kind is ReportKind.NOT_SENT and report.code in NOTED:
                    self._note_refusal(connection_id, report)

    def _note_refusal(self, connection_id: UUID, report: OrderReport) -> None:
        if report.code in NOTED and report.kind in (ReportKind.REJECTED, ReportKind.NOT_SENT):
            self._went.discard(connection_id)
            self._refused[connection_id] = _told(report.code, report.detail)
        elif report.kind is not ReportKind.REJECTED:
            self._refused.pop(connection_id, None)
            self._went.add(connection_id)

    def write(self) -> None:
        """Write down what was gathered since the last time."""
        with self._lock:
            well, failed = self._well, self._failed
            refused, went = self._refused, self._went
            self._well, self._failed, self._refused, self._went = set(), {}, {}, set()
        said = sorted(failed.items(), key=str)
        began = _sent_at(failed) if failed else {}
        for again in (Again.RARELY, Again.SOON, Again.DISABLED):
            if errors := [(one, fault.sentence) for one, fault in said if fault.again is again]:
                mark_errors(errors, again=again, began=began)
        if silent := [(one, fault.sentence) for one, fault in said if fault.again is Again.LOOK]:
            mark_failures(silent, began=began)
        if well:
            mark_active(well, cleared=went)
        if refused:
            mark_refused(list(refused.items()))
        if well or failed:
            mark_used([*well, *failed])


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a connection, for its owner. again: LOOK, unless its broker says it.
    client_order_id: the order that met it."""

    sentence: str
    again: Again
    client_order_id: str


def _sent_at(failed: Mapping[UUID, Fault]) -> dict[UUID, datetime | None]:
    """Return when the orders that met these faults were sent: with what the account was then."""
    named = array({fault.client_order_id for fault in failed.values()})
    return {row.connection_id: row.submitted_at for row in rows(SENT, (named, array(failed)))}


def fault_of(report: OrderReport) -> Fault | None:
    """Return what is wrong if the report says that the connection is unwell."""
    code = report.code or Code.REJECTED_BY_BROKER
    if code in NOTED:  # it concerns the symbol, its direction or the size: other orders go on
        return None
    again = again_of(code)
    unwell = (
        (report.kind is ReportKind.REJECTED and again is not Again.LOOK)
        or (report.kind is ReportKind.NOT_SENT and code not in NOT_THE_BROKERS_FAULT)
        or (report.kind is ReportKind.UNKNOWN and code not in NOT_THE_BROKERS_FAULT)
    )
    if not unwell:
        return None
    return Fault(_told(code, report.detail), again, report.client_order_id)


def _told(code: Code, detail: str) -> str:
    """What its owner reads as the account's last error: what is so, and what helps."""
    return with_remedy(f"{code.sentence} {detail}".strip(), code.hint)
