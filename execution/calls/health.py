"""What calls tell about connections, gathered in the process and written once a second.

A broker that answers is well, whatever it answers; one that refuses our login is in error, and its
owner reads why; so is one that does not answer, unless it is the first time.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from brokers.messages import DECISIONS, OrderReport, ReportKind
from common.codes import Code
from connections.health import (
    Again,
    again_of,
    mark_active,
    mark_errors,
    mark_failures,
    mark_used,
)

NOT_THE_BROKERS_FAULT = frozenset({
    Code.SEND_DEADLINE, Code.KILL_SWITCH, Code.LANE_LOST, Code.UNEXPECTED,
    Code.RATE_LIMITED,  # it answers, and wants less of us: its budget rests
    Code.BROKER_CLOCK,  # our clock is wrong, or we were too slow
})  # fmt: skip


class Health:
    """Collects by `note` from any thread; `write` empties it into the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._well: set[UUID] = set()
        self._failed: dict[UUID, Fault] = {}

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

    def write(self) -> None:
        """Write down what was gathered since the last time."""
        with self._lock:
            well, failed = self._well, self._failed
            self._well, self._failed = set(), {}
        said = sorted(failed.items(), key=str)
        for again in (Again.RARELY, Again.SOON):
            if errors := [(one, fault.sentence) for one, fault in said if fault.again is again]:
                mark_errors(errors, again=again)
        if silent := [(one, fault.sentence) for one, fault in said if fault.again is Again.LOOK]:
            mark_failures(silent)
        if well:
            mark_active(well)
        if well or failed:
            mark_used([*well, *failed])


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a connection, for its owner. again: LOOK, unless its broker says it."""

    sentence: str
    again: Again


def fault_of(report: OrderReport) -> Fault | None:
    """Return what is wrong if the report says that the connection is unwell."""
    code = report.code or Code.REJECTED_BY_BROKER
    again = again_of(code)
    unwell = (
        (report.kind is ReportKind.REJECTED and again is not Again.LOOK)
        or (report.kind is ReportKind.NOT_SENT and code not in NOT_THE_BROKERS_FAULT)
        or (report.kind is ReportKind.UNKNOWN and code not in NOT_THE_BROKERS_FAULT)
    )
    if not unwell:
        return None
    return Fault(f"{code.sentence} {report.detail}".strip(), again)
