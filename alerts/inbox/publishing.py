"""Publish the alerts of the inbox, each once, in the order in which they arrived.

The row is the job: a worker locks it, publishes its signals and settles it in one transaction. If
the worker dies, its session ends, the lock with it, and nothing is written: another worker does the
same again. Alerts of one feed and symbol are published one after another; those of other symbols do
not wait for them. A message in Redis only starts a worker sooner. docs/adr/0039.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import structlog
from django.db import DatabaseError, InterfaceError, transaction

from alerts.carry_out.chat import remember_message
from alerts.carry_out.signals import carry_out_alert, waiting_time, written_at
from alerts.carry_out.updates import remember_without_trade
from alerts.inbox.notices import notify_refused
from alerts.inbox.storing import refusal_values
from alerts.models import AlertState, IncomingAlert
from alerts.reading import AlertUpdate, read_alert, read_mapping
from common.clocks import machine_time
from common.db.errors import is_database_trouble, is_transient
from common.db.sql import Query, periodic_rows, periodic_run, rows, run
from common.errors import ConflictError, FillcastError
from common.failpoints import failpoint
from common.process import tracing
from common.reason_codes import Code
from signals.sequence import RETENTION_DAYS
from users.tenancy import on_behalf_of

log = structlog.get_logger(__name__)
SECONDS_AT_ONCE = 1.0  # then the worker looks at its other work
MAX_ATTEMPTS = 5


class NextRow(NamedTuple):
    """The alert to publish next. is_late: too old to open a trade; is_over: too old for all."""

    id: int
    is_late: bool
    is_over: bool


# The oldest alert that is due and has none of its symbol before it that still waits. One that
# another worker is publishing waits as well: its row says so until that worker commits.
NEXT = Query(
    NextRow,
    """
SELECT a.id, coalesce(a.entry_until < clock_timestamp(), false) AS is_late,
  a.expires_at < clock_timestamp() AS is_over
FROM alerts_incomingalert a
WHERE a.state = 'WAITING' AND a.due_at <= statement_timestamp() AND NOT EXISTS (
  SELECT FROM alerts_incomingalert b
  WHERE b.state = 'WAITING' AND b.feed_id = a.feed_id AND b.id < a.id
    AND (b.symbol = a.symbol OR b.symbol = '' OR a.symbol = ''))
ORDER BY a.id LIMIT 1 FOR NO KEY UPDATE OF a SKIP LOCKED
""",
)
ANY_DUE = f"""
SELECT id FROM alerts_incomingalert
WHERE state = '{AlertState.WAITING}' AND due_at <= statement_timestamp() LIMIT 1
"""
# Each pause is twice the last one: 1, 2, 4, 8 s. Trouble of the database is not the alert's fault
# and ends with its age only.
POSTPONE = f"""
UPDATE alerts_incomingalert SET attempts = least(attempts + 1, 1000), code = %(code)s,
  detail = %(detail)s,
  due_at = clock_timestamp() + make_interval(secs => least(power(2, attempts), 30))
WHERE id = %(id)s AND state = '{AlertState.WAITING}'
"""
REMOVE_OLD = f"""
DELETE FROM alerts_incomingalert WHERE id = ANY(ARRAY(
  SELECT id FROM alerts_incomingalert
  WHERE received_at < statement_timestamp() - interval '{RETENTION_DAYS} days'
  ORDER BY received_at LIMIT 1000 FOR UPDATE SKIP LOCKED))
"""


def is_any_due() -> bool:
    """Return whether an alert may be due: for a job that looks often and mostly finds none."""
    return bool(periodic_rows(ANY_DUE))


def publish_waiting(
    *, seconds: float = SECONDS_AT_ONCE, is_ending: Callable[[], bool] = lambda: False
) -> int:
    """Publish waiting alerts until none is due, or for about `seconds`; return how many."""
    end, done = machine_time() + seconds, 0
    while not is_ending() and publish_next():
        done += 1
        if machine_time() >= end:
            break
    return done


def remove_old_alerts() -> int:
    """Delete up to 1,000 alerts that are older than a week; return how many."""
    return periodic_run(REMOVE_OLD)


def publish_next() -> bool:
    """Publish the next waiting alert and settle it, in one transaction. False: none is due.

    An alert that is refused, or too old, is settled with the reason, and its provider is notified.
    If the database is in trouble, or our program fails, nothing is written; the alert waits, with
    the reason, and is tried again. Raises database errors that prevent even that.
    """
    chosen: NextRow | None = None
    try:
        with transaction.atomic():
            found = rows(NEXT)
            if not found:
                return False
            (chosen,) = found
            failpoint("alert.claimed")
            alert = IncomingAlert.objects.select_related("feed__owner").get(pk=chosen.id)
            _settle(alert, chosen)
            failpoint("alert.written")
    except (DatabaseError, InterfaceError) as error:
        if chosen is None or not (is_transient(error) or is_database_trouble(error)):
            if chosen is None:
                raise
            _set_back(chosen.id, Code.UNEXPECTED, error)
        else:
            _set_back(chosen.id, Code.DATABASE_BUSY, error)
    except Exception as error:  # any: a fault of ours must not stop the other alerts
        if chosen is None:
            raise
        _set_back(chosen.id, Code.UNEXPECTED, error)
    return True


def _set_back(alert_id: int, code: Code, error: Exception) -> None:
    """Let an alert wait for its next attempt; refuse it after MAX_ATTEMPTS faults of ours."""
    log.warning("alert not published", alert=alert_id, code=str(code), exc_info=error)
    with transaction.atomic():
        alert = (
            IncomingAlert.objects.select_related("feed__owner")
            .select_for_update(of=("self",), no_key=True)
            .get(pk=alert_id)
        )
        if not alert.is_waiting:
            return
        if code == Code.UNEXPECTED and alert.attempts + 1 >= MAX_ATTEMPTS:
            _refuse(alert, ConflictError(Code.ALERT_PROCESSING_FAILED))
        else:
            run(POSTPONE, {"id": alert_id, "code": str(code), "detail": code.sentence})


def _settle(alert: IncomingAlert, chosen: NextRow) -> None:
    try:
        if chosen.is_over:
            raise ConflictError(Code.ALERT_EXPIRED, waiting_time(alert))
        with transaction.atomic():  # nothing stays of what is refused
            outcome = carry_out_alert(alert, is_late=chosen.is_late)
            remember_message(alert, outcome)
    except FillcastError as error:
        _refuse(alert, error)
        if error.code == Code.ALERT_WITHOUT_TRADE and not (alert.edit_of or alert.reply_to):
            _remember_end(alert)
        return
    _close(
        alert,
        AlertState.NOTHING
        if not outcome.signals
        else AlertState.PUBLISHED
        if outcome.is_new
        else AlertState.REPEATED,
        change=outcome.change,
        summary=outcome.summary[:300],
        signal_ids=[signal.pk for signal in outcome.signals],
        code="",
        detail="",
    )
    if tracing.is_on() and outcome.is_new:
        transaction.on_commit(partial(_trace, alert, [signal.pk for signal in outcome.signals]))


def _trace(alert: IncomingAlert, signal_ids: list[int]) -> None:
    """Add the alert to its signals' traces: from its receipt to the publication's commit."""
    seconds = max(0.0, time.time() - alert.received_at.timestamp())
    for signal_id in signal_ids:
        tracing.add("alert", signal_id, seconds, source=alert.source)


def _remember_end(alert: IncomingAlert) -> None:
    """Store that a refused update ends what was sent before it and has not arrived yet."""
    with on_behalf_of(alert.feed.owner):
        read = read_alert(bytes(alert.body), read_mapping(alert.feed.alert_mapping))
        if isinstance(read, AlertUpdate):
            remember_without_trade(
                alert.feed, read, received_at=alert.received_at, written_at=written_at(alert)
            )


def _refuse(alert: IncomingAlert, error: FillcastError) -> None:
    """Settle an alert as refused, and notify the provider: its sender has an answer already."""
    is_old = error.code in (Code.ALERT_EXPIRED, Code.ALERT_TOO_OLD)
    state = AlertState.EXPIRED if is_old else AlertState.REFUSED
    _close(alert, state, **refusal_values(error))
    notify_refused(alert, error)


def _close(alert: IncomingAlert, state: AlertState, **values: object) -> None:
    for name, value in values.items():
        setattr(alert, name, value)
    alert.state, alert.settled_at = state, datetime.now(UTC)
    alert.save(update_fields=["state", "settled_at", *values])
