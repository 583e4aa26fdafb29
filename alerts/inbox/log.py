"""What became of a feed's alerts, for its provider and for their senders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from alerts.carry_out.orders import main_signal
from alerts.models import AlertState, IncomingAlert
from alerts.reading import without_secrets
from common.db.sql import Query, rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.web.formatting import known_code
from signals.models import Feed, Signal

SHAPES = {
    AlertState.WAITING: "pending",
    AlertState.PUBLISHED: "ok",
    AlertState.NOTHING: "skipped",
    AlertState.REPEATED: "skipped",
    AlertState.REFUSED: "denied",
    AlertState.EXPIRED: "expired",
}


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """An alert that waits. is_behind: an earlier one of its symbol waits as well."""

    id: int
    is_due: bool
    is_behind: bool


WAITING = Query(
    WaitingRow,
    """
SELECT a.id, a.due_at <= clock_timestamp() AS is_due, EXISTS (
    SELECT FROM alerts_incomingalert b
    WHERE b.state = 'WAITING' AND b.feed_id = a.feed_id AND b.id < a.id
      AND (b.symbol = a.symbol OR b.symbol = '' OR a.symbol = '')) AS is_behind
FROM alerts_incomingalert a WHERE a.id = ANY(%s::bigint[]) AND a.state = 'WAITING'
""",
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why an alert waits, since when, and at most until when."""

    code: Code
    detail: str
    since: datetime
    until: datetime | None
    attempts: int


@dataclass(frozen=True, slots=True)
class AlertEntry:
    """A line of the log. signals: what it published, the opening one last. wait: None once settled.

    sentence: what became of it, or why it waits.
    """

    alert: IncomingAlert
    signals: tuple[Signal, ...]
    wait: Wait | None

    @property
    def shape(self) -> str:
        """The class of its state's mark."""
        return SHAPES[AlertState(self.alert.state)]

    @property
    def text(self) -> str:
        """Its text, for people, without secrets of other services."""
        body = without_secrets(bytes(self.alert.body))
        return body.decode("utf-8", "replace").replace("\x00", "�")

    @property
    def main(self) -> Signal | None:
        """The signal that represents the alert: the one that opens, else the first."""
        return main_signal(self.signals)

    @property
    def code(self) -> str:
        """Why it was refused or waits; empty for what was published."""
        return str(self.wait.code) if self.wait else self.alert.code

    @property
    def sentence(self) -> str:
        """What became of it, in a sentence."""
        if self.wait is not None:
            return self.wait.detail
        if self.alert.detail:
            return self.alert.detail
        if self.alert.state == AlertState.REPEATED:
            return "The same alert was received before; nothing more was done."
        return self.alert.summary or f"{AlertState(self.alert.state).label}."

    @property
    def hint(self) -> str:
        """What to do about it; empty if nothing is."""
        return Code(self.code).hint if known_code(self.code) else ""

    @property
    def candidates(self) -> int | None:
        """How many accounts its signals were sent to; None if it published none."""
        counts = [one.candidate_count for one in self.signals if one.candidate_count is not None]
        return sum(counts) if counts else None


def state_of(text: str) -> AlertState | None:
    """Return the state that a filter names; None: all. Raises InvalidInputError FIELD_INVALID."""
    if not text:
        return None
    try:
        return AlertState(text)
    except ValueError as error:
        detail = f"{text[:40]!r} is none of {', '.join(AlertState.values)}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="state") from error


def alerts_of(feed: Feed, *, state: AlertState | None = None) -> QuerySet[IncomingAlert]:
    """Return a feed's alerts, the newest first; all, or those of one state."""
    found = IncomingAlert.objects.filter(feed=feed).select_related("token").order_by("-id")
    if state is not None:
        found = found.filter(state=state)
    return found


def entries_for(alerts: Sequence[IncomingAlert]) -> list[AlertEntry]:
    """Return the lines of these alerts, in two queries."""
    ids = {pk for alert in alerts for pk in alert.signal_ids}
    signals = Signal.objects.in_bulk(ids) if ids else {}
    waiting = [alert.pk for alert in alerts if alert.is_waiting]
    waits = {row.id: row for row in rows(WAITING, (waiting,))} if waiting else {}
    return [
        AlertEntry(
            alert,
            tuple(signals[pk] for pk in alert.signal_ids if pk in signals),
            _wait(alert, waits.get(alert.pk)) if alert.is_waiting else None,
        )
        for alert in alerts
    ]


def _wait(alert: IncomingAlert, row: WaitingRow | None) -> Wait:
    code = Code.ALERT_WAITS_FOR_WORKER
    if row is not None and row.is_behind:
        code = Code.ALERT_WAITS_ITS_TURN
    elif alert.code and known_code(alert.code):
        code = Code(alert.code)
    detail = code.sentence
    if alert.attempts:
        detail += f" {alert.attempts} {'attempts' if alert.attempts > 1 else 'attempt'} failed."
    if row is not None and not row.is_due:
        detail += f" It is tried again at {alert.due_at:%H:%M:%S} UTC."
    return Wait(code, detail, alert.received_at, alert.expires_at, alert.attempts)
