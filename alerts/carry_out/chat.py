"""Alerts of a chat: what an edited message changes, what an answer is about.

Called in the alert's transaction, on behalf of the feed's owner.
"""

from dataclasses import replace

from alerts.carry_out.distances import with_distances
from alerts.carry_out.levels import levels_of, require_near_trade
from alerts.carry_out.orders import Outcome
from alerts.carry_out.updates import require_open, trade_of_message
from alerts.models import AlertSource, IncomingAlert, TelegramMessage
from alerts.reading import Alert, AlertSignal, LevelForm, read_alert, read_mapping
from alerts.reading.words import reading_text
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals import services
from signals.models import Action, Feed, Origin
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.sequence import lock_alert_order


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
    PRICE_REQUIRED, ALERT_WITHOUT_TRADE, ALERT_AMBIGUOUS (a level that is near no price of its
    trade), and what `save_draft` and `publish` raise.
    """
    feed = alert.feed
    message = TelegramMessage.objects.filter(feed=feed, key=alert.edit_of).first()
    if message is None:
        raise InvalidInputError(Code.ALERT_EDIT_UNKNOWN)
    old = read_alert(bytes(message.body), read_mapping(feed.alert_mapping))
    trade = trade_of_message(feed, alert.edit_of)
    changes = changed_levels(feed, old, new, pair=trade.currency_pair if trade else "")
    if changes is None:
        return Outcome((), False, "edit", "The edit changes nothing that is traded.")
    if trade is None:
        raise InvalidInputError(Code.ALERT_EDIT_UNKNOWN)
    lock_alert_order(feed, trade.currency_pair)
    require_open(trade)
    require_near_trade(trade, levels_of(changes))
    draft = replace(changes, refers_to=trade.pk, external_id=f"edit:{alert.source_key}")
    signal, is_new = save_draft(feed, draft, origin=Origin.ALERT, by=feed.owner)
    services.publish(signal.pk, by=feed.owner)
    signal.refresh_from_db()
    return Outcome((signal,), is_new, "edit", f"Changes the levels of {trade.number}, {trade}.")


def changed_levels(feed: Feed, old: Alert, new: Alert, *, pair: str) -> SignalDraft | None:
    """Return the change of levels between two texts of a message; None if they trade the same.

    pair: of its trade; '' if it has none. Raises InvalidInputError ALERT_EDIT_CHANGES_MEANING for
    every other difference, and for a level that is gone: its removal could be meant, or be a slip.
    PRICE_REQUIRED for a new distance from an entry of which no price is known.
    """
    if _without_words(old) == _without_words(new):
        return None
    if not (isinstance(old, AlertSignal) and isinstance(new, AlertSignal)):
        raise _refusal(old, new)
    is_other = _without_levels(old) != _without_levels(new)
    if is_other or _named_levels(old) - _named_levels(new) or old.draft.action != Action.OPEN:
        raise _refusal(old, new)
    old, new = _in_prices(feed, old, pair), _in_prices(feed, new, pair)
    if set(new.distances) - set(old.distances):
        detail = (
            "A distance counts from the entry, and the signal states no price: each account has "
            "its own. Write the price of the level."
        )
        raise InvalidInputError(Code.PRICE_REQUIRED, detail, field=new.distances[0].level)
    before, after = old.draft, new.draft
    sl = after.sl if after.sl != before.sl else None
    targets = after.targets if after.targets != before.targets else ()
    if sl is None and not targets:
        return None
    return SignalDraft(action=Action.MODIFY, sl=sl, targets=targets)


def _named_levels(alert: AlertSignal) -> set[str]:
    """Return which levels an entry has, as prices or as distances."""
    found = {"sl"} if alert.draft.sl is not None else set()
    found |= {"targets"} if alert.draft.targets else set()
    return found | {"sl" if one.level == "sl" else "targets" for one in alert.distances}


def _in_prices(feed: Feed, alert: AlertSignal, pair: str) -> AlertSignal:
    """Return an entry with its distances as prices, if it states from which price they count."""
    if not (alert.distances and alert.draft.entry_price and pair):
        return alert
    priced = with_distances(feed, replace(alert.draft, pair=pair), alert.distances)
    draft = replace(alert.draft, sl=priced.sl, targets=priced.targets)
    return replace(alert, draft=draft, distances=())


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
    """Return an entry without its levels, and without what its reader concludes from them: whether
    it could be about an open trade instead was decided when the message was published."""
    draft = replace(alert.draft, sl=None, targets=())
    bare = replace(
        alert, draft=draft, distances=(), opposite=None, levels_alone=False,
        level_form=LevelForm.NUMBER,
    )  # fmt: skip
    return _without_words(bare)
