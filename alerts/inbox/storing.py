"""The inbox of alerts, for all sources: posts with a token (`alerts/inbox/posts.py`) and chats.

An alert is read and stored in the inbox (`IncomingAlert`); a worker publishes it
(`alerts/inbox/publishing.py`). What cannot be read, or may not be sent, is refused at once, and
stored as refused, so that the provider sees it. docs/adr/0039.
"""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.acceptance import require_acceptable, require_approved
from alerts.carry_out.sizes import size_note
from alerts.models import AlertSource, AlertState, IncomingAlert, Refusal
from alerts.reading import Alert, AlertOrder, AlertUpdate, read_alert, read_mapping, without_secrets
from common.clocks import machine_seconds_until, market_now
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.operational.current import settings_now
from common.reason_codes import Code
from signals.feeds.rate import count_calls, seconds_of
from signals.field_error import FieldError
from signals.models import Action, Feed, OrderType, Origin
from signals.publishing.ingest import referred_pair, with_feed_errors
from signals.reading.draft import SignalDraft
from signals.reading.ends import REPLAY_WINDOW
from signals.reading.errors import InvalidSignalError, field_errors
from signals.sequence import sequence_symbol
from users.tenancy import on_behalf_of

# How long an alert that closes or changes trades waits for a worker. Entries wait less.
EXIT_PATIENCE = timedelta(hours=1)
# Refused alerts of a feed are stored at most that often, and only their beginning: a sender with
# an address must not fill the database with what is refused anyway.
REFUSALS_PER_MINUTE, REFUSED_BODY_BYTES = 20, 2_000
KNOWN_SENDERS = "refused-alerts"


class RateLimitedError(FillcastError):
    """Too many requests. retry_after: seconds until the next one is accepted."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(Code.THROTTLED, f"Try again in {retry_after} s.", retry_after=retry_after)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an alert as it arrived.

    alert: its row; None: refused, and not stored, since many were or its address is wrong. error:
    why it was refused; None: it waits for a worker, or it was stored before. note: a sentence about
    what has no effect in it.
    """

    alert: IncomingAlert | None
    error: FillcastError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """An alert that is refused; `receipts_of` decides whether it gets a row.

    sent: more columns of it. kind: the name by which refusals are counted.
    """

    feed: Feed
    body: bytes
    error: FillcastError
    sent: Mapping[str, Any]
    kind: str = KNOWN_SENDERS

    def receipt(self, *, is_stored: bool) -> Receipt:
        """Return its receipt, with a row that is not stored yet, or without one."""
        if not is_stored:
            return Receipt(None, self.error)
        refused = IncomingAlert(
            feed=self.feed,
            body=_stored_body(self.feed, self.body)[:REFUSED_BODY_BYTES],
            state=AlertState.REFUSED,
            settled_at=datetime.now(UTC),
            **refusal_values(self.error),
            **self.sent,
        )
        return Receipt(refused, self.error)


@dataclass(frozen=True, slots=True)
class MessageOrigin:
    """What a chat knows of a message besides its text.

    sent_at: when it was written; an entry's age counts from then. reply_to: the key of the message
    that it answers. edit_of: the key of the published message that it edits. is_edit: it is a new
    text of a message that was not published: it gains no time by that.
    """

    sent_at: datetime
    reply_to: str = ""
    edit_of: str = ""
    is_edit: bool = False

    def columns(self) -> dict[str, object]:
        """Return the columns of its row, refused or not."""
        written = min(self.sent_at, datetime.now(UTC))
        return {"received_at": written, "reply_to": self.reply_to, "edit_of": self.edit_of}

    def deadlines(self, feed: Feed, alert: Alert) -> dict[str, object]:
        """Return the columns that decide how it waits, as `_waiting`."""
        now = datetime.now(UTC)
        if self.edit_of:
            return {"symbol": "", "entry_until": None, "expires_at": now + EXIT_PATIENCE}
        waits = _waiting(feed, alert, since=min(self.sent_at, now))
        if waits["expires_at"] != waits["entry_until"] and not self.is_edit:
            waits["expires_at"] = now + EXIT_PATIENCE  # what closes counts after a downtime, too
        if self.reply_to:  # behind the message that it answers, whatever the symbol
            waits["symbol"] = ""
        return waits


def accept_alert(
    feed: Feed,
    body: bytes,
    *,
    source: AlertSource = AlertSource.WEBHOOK,
    source_key: str = "",
    origin: MessageOrigin | None = None,
    **sent: Any,
) -> Receipt:
    """Store an alert whose sender is known: for all sources. Needs no transaction.

    source_key: what the source calls the message; a second one with the same key is the first.
    origin: of a chat's message, whose source counts the alerts of a minute itself. sent: further
    columns.
    The receipt's error is RateLimitedError, NotAllowedError FEED_NOT_APPROVED, or InvalidInputError
    with all faults of its text, as `read_alert` has them, ALERT_TOO_OLD,
    ALERT_SYMBOL_NOT_ALLOWED.
    """
    with on_behalf_of(feed.owner):
        if source_key and (known := _by_source(feed, source, source_key)):
            return Receipt(known)
        sent |= {"source": source, "source_key": source_key}
        if origin is not None:
            sent |= origin.columns()
        wait = 0 if origin is not None else alert_pause(feed)
        (receipt,) = receipts_of([judged_alert(feed, body, sent, wait=wait, origin=origin)])
        if receipt.alert is None:
            return receipt
        IncomingAlert.objects.bulk_create([receipt.alert], ignore_conflicts=bool(source_key))
        if source_key:  # two processes may receive the same message
            return replace(receipt, alert=_by_source(feed, source, source_key))
        return receipt


def judged_alert(
    feed: Feed,
    body: bytes,
    sent: Mapping[str, Any],
    *,
    wait: int,
    is_signed: bool = False,
    origin: MessageOrigin | None = None,
    since: datetime | None = None,
) -> "Receipt | Refused":
    """Read an alert; its row is not stored yet. Needs no transaction.

    wait: the seconds for which the feed accepts none. since: when it arrived, if not just now.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if wait:
        return Refused(feed, body, RateLimitedError(wait), sent)
    body = _stored_body(feed, body)  # what is accepted is what a worker will read
    try:
        alert = _read(feed, body, is_signed, is_edit=bool(origin and origin.edit_of))
        waits = origin.deadlines(feed, alert) if origin else _waiting(feed, alert, since=since)
    except FillcastError as error:
        return Refused(feed, body, error, sent)
    waiting = IncomingAlert(feed=feed, body=body, **waits, **sent)
    return Receipt(waiting, note=size_note(alert.notes))


def receipts_of(judged: Sequence["Receipt | Refused"]) -> list[Receipt]:
    """Return the receipts of alerts: of the refused ones with a row, unless many of the feed were
    refused in this minute. They are counted in one exchange with Redis."""
    refused = [one for one in judged if isinstance(one, Refused)]
    names = [(f"{one.kind}:{one.feed.pk}", REFUSALS_PER_MINUTE) for one in refused]
    waits = iter([seconds_of(usage) for usage in count_calls(names)])
    return [
        one.receipt(is_stored=not next(waits)) if isinstance(one, Refused) else one
        for one in judged
    ]


def alert_pause(feed: Feed) -> int:
    """Count one more alert of a feed; return 0, or for how many seconds it accepts none."""
    return seconds_of(count_calls([alerts_of(feed)])[0])


def alerts_of(feed: Feed) -> tuple[str, int]:
    """Return the name by which the alerts of a feed are counted, and its limit a minute."""
    return f"alerts:{feed.pk}", feed.alerts_per_minute


def _stored_body(feed: Feed, body: bytes) -> bytes:
    """Return an alert without its secrets."""
    return without_secrets(body, read_mapping(feed.alert_mapping).paths.values())


def refuse_alert(
    feed: Feed,
    body: bytes,
    error: FillcastError,
    *,
    source: AlertSource,
    source_key: str,
    is_known: bool = False,
) -> Receipt:
    """Store what a chat's sender sent as refused, unless many were in this minute. One who is not
    known uses up neither the limits of the feed's own senders nor those of their refusals."""
    with on_behalf_of(feed.owner):
        if known := _by_source(feed, source, source_key):
            return Receipt(known, error)
        sent = {"source": source, "source_key": source_key}
        kind = KNOWN_SENDERS if is_known else f"unknown-senders:{source}"
        (receipt,) = receipts_of([Refused(feed, body, error, sent, kind)])
        if receipt.alert is not None:
            receipt.alert.save(force_insert=True)
        return receipt


def store_fault(feed: Feed, body: bytes, source: AlertSource, source_key: str) -> IncomingAlert:
    """Store an alert that makes our program fail as refused, however many there are."""
    with on_behalf_of(feed.owner):
        if known := _by_source(feed, source, source_key):
            return known
        text = _stored_body(feed, body)[:REFUSED_BODY_BYTES] if body else b""
        alert = IncomingAlert(
            feed=feed, body=text, source=source, source_key=source_key, state=AlertState.REFUSED,
            settled_at=datetime.now(UTC),
            **refusal_values(ConflictError(Code.ALERT_PROCESSING_FAILED)),
        )  # fmt: skip
        alert.save(force_insert=True)
        return alert


def _by_source(feed: Feed, source: AlertSource, key: str) -> IncomingAlert | None:
    return IncomingAlert.objects.filter(feed=feed, source=source, source_key=key).first()


def refusal_values(error: FillcastError) -> dict[str, object]:
    """Return the columns that hold why an alert was refused; `refusal_of` reads them."""
    kinds: tuple[tuple[type[FillcastError], Refusal], ...] = (
        (ConflictError, Refusal.CONFLICT),
        (NotAllowedError, Refusal.NOT_ALLOWED),
        (RateLimitedError, Refusal.THROTTLED),
    )
    errors = field_errors(error) if isinstance(error, InvalidInputError) else ()
    return {
        "refusal": next((kind for of, kind in kinds if isinstance(error, of)), Refusal.INVALID),
        "code": str(error.code),
        "detail": _storable(error.detail),
        "errors": [
            {"code": str(one.code), "field": _storable(one.field), "detail": _storable(one.detail)}
            for one in errors
        ],
    }


def _storable(text: str) -> str:
    """Replace what PostgreSQL does not store: a refused text may contain anything."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "�")[:2_000]


def refusal_of(alert: IncomingAlert) -> FillcastError:
    """Return the error with which a stored alert was refused, or for which it is too old."""
    code = Code(alert.code)
    if alert.refusal == Refusal.CONFLICT:
        return ConflictError(code, alert.detail)
    if alert.refusal == Refusal.NOT_ALLOWED:
        return NotAllowedError(code, alert.detail)
    if alert.refusal == Refusal.THROTTLED:
        return FillcastError(code, alert.detail)
    if not alert.errors:
        return InvalidInputError(code, alert.detail)
    return InvalidSignalError(
        [FieldError(Code(one["code"]), one["field"], one["detail"]) for one in alert.errors]
    )


def _read(feed: Feed, body: bytes, is_signed: bool, *, is_edit: bool = False) -> Alert:
    """Return an alert that may wait for a worker. Raises FillcastError with all of its faults.

    is_edit: of a message that was published; it opens nothing, whatever it says.
    """
    require_approved(feed)
    with with_feed_errors(lambda _: feed, Origin.ALERT):
        alert = read_alert(body, read_mapping(feed.alert_mapping))
        require_acceptable(feed, alert, is_signed=is_signed, is_edit=is_edit)
    return alert


def _waiting(feed: Feed, alert: Alert, *, since: datetime | None = None) -> dict[str, object]:
    """Return the columns that decide how an alert waits: behind which others, and until when.

    since: when it was sent, if that is known; else now.
    """
    now = since or datetime.now(UTC)
    if isinstance(alert, AlertOrder):
        opens, symbol, closes = alert.opening, alert.pair, alert.closes
    elif isinstance(alert, AlertUpdate):  # of the only open trade, whatever is published before
        opens, symbol, closes = None, alert.pair, True
    else:
        opens = alert.draft if alert.draft.action == Action.OPEN else None
        symbol, closes = _symbol_of(feed, alert.draft), opens is None
    entry_until = now + _patience(opens) if opens is not None else None
    return {
        "symbol": sequence_symbol(symbol),
        "entry_until": entry_until,
        "expires_at": now + EXIT_PATIENCE if closes or entry_until is None else entry_until,
    }


def _patience(opening: SignalDraft) -> timedelta:
    """Return how long an entry may wait: at the market as long as any market entry."""
    if opening.order_type != OrderType.MARKET:
        return REPLAY_WINDOW
    most = market_now() + timedelta(seconds=settings_now().execution.market_entry_max_age_seconds)
    return timedelta(seconds=machine_seconds_until(most))


def _symbol_of(feed: Feed, draft: SignalDraft) -> str:
    """Return the symbol of a signal; empty if it names a signal that may still wait itself."""
    if draft.after_signal_external_id or draft.close_when_signal_external_id:
        return ""
    return draft.pair if draft.action == Action.OPEN else referred_pair(feed, draft)
