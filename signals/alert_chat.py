"""Alerts of a chat: what an edited message changes, what an answer is about.

Called in the alert's transaction, on behalf of the feed's owner.
"""

from dataclasses import replace

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals import services
from signals.alert_dialects import read_mapping
from signals.alert_orders import Outcome
from signals.alert_preview import reading_text
from signals.alert_reading import Alert, AlertSignal, read_alert
from signals.alert_sequence import lock_alert_order
from signals.alert_updates import require_open, trade_of_message
from signals.draft import SignalDraft
from signals.ingest import save_draft
from signals.models import Action, AlertSource, IncomingAlert, Origin, TelegramMessage


def message_key(alert: IncomingAlert) -> str:
    """Return which message of a chat an alert is, edited or not."""
    return ":".join(alert.source_key.split(":")[:2])


def remember_message(alert: IncomingAlert, outcome: Outcome) -> None:
    """Keep what a chat's message published, for answers and edits; an edit that was carried out
    is then the text that counts."""
    if alert.source != AlertSource.TELEGRAM or not (outcome.signals or alert.edit_of):
        return
    if alert.edit_of:
        found = TelegramMessage.objects.filter(feed=alert.feed, key=alert.edit_of)
        found.update(body=bytes(alert.body))
        return
    TelegramMessage.objects.update_or_create(
        feed=alert.feed,
        key=message_key(alert),
        defaults={
            "body": bytes(alert.body), "signal_ids": [signal.pk for signal in outcome.signals],
        },
    )  # fmt: skip


def refuse_second_entry(alert: IncomingAlert, read: AlertSignal) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for an entry that answers a signal's message."""
    if not alert.reply_to or read.draft.action != Action.OPEN:
        return
    trade = trade_of_message(alert.feed, alert.reply_to)
    if trade is not None:
        detail = (
            f"An entry that answers the message of {trade.number} ({trade}) could open another "
            "trade, or change that one. Send the entry as a message of its own."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail)


def carry_out_edit(alert: IncomingAlert, new: Alert) -> Outcome:
    """Change the levels of exactly the signal that the edited message published.

    Raises InvalidInputError ALERT_EDIT_UNKNOWN, ALERT_EDIT_CHANGES_MEANING (with both readings),
    ALERT_WITHOUT_TRADE, and what `save_draft` and `publish` raise.
    """
    feed = alert.feed
    message = TelegramMessage.objects.filter(feed=feed, key=alert.edit_of).first()
    if message is None:
        raise InvalidInputError(Code.ALERT_EDIT_UNKNOWN)
    old = read_alert(bytes(message.body), read_mapping(feed.alert_mapping))
    changes = changed_levels(old, new)
    if changes is None:
        return Outcome((), False, "edit", "The edit changes nothing that is traded.")
    trade = trade_of_message(feed, alert.edit_of)
    if trade is None:
        raise InvalidInputError(Code.ALERT_EDIT_UNKNOWN)
    lock_alert_order(feed, trade.currency_pair)
    require_open(trade)
    draft = replace(changes, refers_to=trade.pk, external_id=f"edit:{alert.source_key}")
    signal, is_new = save_draft(feed, draft, origin=Origin.ALERT, by=feed.owner)
    services.publish(signal.pk, by=feed.owner)
    signal.refresh_from_db()
    return Outcome((signal,), is_new, "edit", f"Changes the levels of {trade.number}, {trade}.")


def changed_levels(old: Alert, new: Alert) -> SignalDraft | None:
    """Return the change of levels between two texts of a message; None if they trade the same.

    Raises InvalidInputError ALERT_EDIT_CHANGES_MEANING for every other difference, and for a level
    that is gone: its removal could be meant, or be a slip.
    """
    if _without_words(old) == _without_words(new):
        return None
    if not (isinstance(old, AlertSignal) and isinstance(new, AlertSignal)):
        raise _refusal(old, new)
    before, after = old.draft, new.draft
    is_other = _without_levels(old) != _without_levels(new)
    is_gone = (before.sl is not None and after.sl is None) or (
        bool(before.targets) and not after.targets
    )
    if is_other or is_gone or before.action != Action.OPEN:
        raise _refusal(old, new)
    return SignalDraft(
        action=Action.MODIFY,
        sl=after.sl if after.sl != before.sl else None,
        targets=after.targets if after.targets != before.targets else (),
    )


def _refusal(old: Alert, new: Alert) -> InvalidInputError:
    detail = f"It was read as: {reading_text(old)}. Now it would be: {reading_text(new)}."
    return InvalidInputError(Code.ALERT_EDIT_CHANGES_MEANING, detail)


def _without_words(alert: Alert) -> Alert:
    """Return an alert without what only its wording decides."""
    if isinstance(alert, AlertSignal):
        draft = replace(alert.draft, note="", sent_at=None)
        return replace(alert, key="", notes=(), draft=draft)
    return replace(alert, key="", notes=(), sent_at=None)


def _without_levels(alert: AlertSignal) -> Alert:
    draft = replace(alert.draft, sl=None, targets=())
    return _without_words(replace(alert, draft=draft))
