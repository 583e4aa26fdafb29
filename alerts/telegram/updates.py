"""Take what a bot received: each update, its inbox row and the bot's place in one transaction.

So a process that dies between Telegram's answer and the commit has taken nothing, and the next one
asks for the same updates again; what was committed is known by its key.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
import telegram
from django.db import transaction
from django.db.models import Case, When

from alerts.inbox.notices import notify_refused
from alerts.inbox.storing import (
    REFUSED_BODY_BYTES,
    MessageOrigin,
    Receipt,
    accept_alert,
    alert_pause,
    refusal_of,
    refusal_values,
    refuse_alert,
    store_fault,
)
from alerts.models import (
    AlertSource,
    AlertState,
    IncomingAlert,
    TelegramBot,
    TelegramChat,
    TelegramMessage,
)
from alerts.tasks import notify_worker_on_commit
from alerts.telegram.messages import ChatMessage, message_of, sender_error
from common.db.errors import is_database_trouble, is_transient
from common.errors import ConflictError, FillcastError, InvalidInputError
from common.failpoints import failpoint
from common.reason_codes import Code
from users.joins import of_open_key

log = structlog.get_logger(__name__)
MOST_CHATS = 20
"""Unknown chats that a bot remembers: anyone may write to a bot."""
NUMBERING = timedelta(days=6)
"""Telegram counts updates on; after a week without one it begins at any number."""
# What a provider meant as a signal: a refused "Good morning" needs no notification.
_SIGNAL_WORDS = re.compile(
    r"(?i)\b(buy|sell|long|short|sl|tp\d?|stop|target|close|cancel|exit|entry)\b"
)


class Lease(NamedTuple):
    """Under which lease an answer of Telegram was asked for."""

    bot: int
    holder: str
    fence: int


class LeaseLostError(Exception):
    """Another process holds the bot, or it was changed, paused or removed, or its key has ended.
    Nothing was stored."""


def take_update(lease: Lease, update: telegram.Update) -> int:
    """Store what an update says, once, and move the bot on.

    Returns 0, or for how many seconds the feed accepts no more alerts: then the update was not
    taken. Raises LeaseLostError, and errors of a database that is in trouble. What makes
    our program fail is set aside.
    """
    for take in (_take, _set_aside, _set_aside_unread):
        try:
            with transaction.atomic():
                return take(lease, update)
        except LeaseLostError:
            raise
        except Exception as error:  # any: a fault of ours must not stop the messages behind it
            if is_transient(error) or is_database_trouble(error):
                raise
            log.exception("telegram message not taken", bot=lease.bot, update=update.update_id)
    with transaction.atomic():
        _move_on(_locked(lease), update.update_id)
    return 0


def _locked(lease: Lease) -> TelegramBot:
    bot = (
        TelegramBot.objects.select_related("feed__owner")
        .select_for_update(of=("self",), no_key=True)
        .filter(
            of_open_key("made_with"),
            pk=lease.bot,
            holder=lease.holder,
            fence=lease.fence,
            is_paused=False,
        )
        .first()
    )
    if bot is None:
        raise LeaseLostError
    return bot


def _take(lease: Lease, update: telegram.Update) -> int:
    bot = _locked(lease)
    if _counts_on(bot) and update.update_id < bot.next_offset:
        return 0  # sent again
    message = message_of(update)
    if message is not None and (wait := _take_message(bot, message)):
        return wait
    failpoint("telegram.stored")
    _move_on(bot, update.update_id)
    return 0


def _set_aside(lease: Lease, update: telegram.Update) -> int:
    """Store a message that makes our program fail as refused, and notify the provider: Telegram
    does not send it again, and its sender gets no answer."""
    bot, message = _locked(lease), message_of(update)
    if message is not None:
        _store_as_failed(bot, message)
    _move_on(bot, update.update_id)
    return 0


def _store_as_failed(bot: TelegramBot, message: ChatMessage) -> None:
    chat = bot.chats.filter(chat_id=message.chat_id).first()
    body = message.text.encode("utf-8", "replace")
    if (error := sender_error(message, bot, chat)) is not None:
        _refuse(bot, message, body, error)
        return
    alert = store_fault(bot.feed, body, AlertSource.TELEGRAM, message.source_key)
    notify_refused(alert, refusal_of(alert))


def _set_aside_unread(lease: Lease, update: telegram.Update) -> int:
    """Store that there was a message: it cannot be read, so neither its text nor its sender is
    known."""
    bot = _locked(lease)
    store_fault(bot.feed, b"", AlertSource.TELEGRAM, f"update:{update.update_id}")
    _move_on(bot, update.update_id)
    return 0


def _counts_on(bot: TelegramBot) -> bool:
    return bot.update_at is not None and datetime.now(UTC) - bot.update_at < NUMBERING


def _move_on(bot: TelegramBot, update_id: int) -> None:
    offset = max(update_id + 1, bot.next_offset) if _counts_on(bot) else update_id + 1
    bot.next_offset, bot.update_at = offset, datetime.now(UTC)
    bot.save(update_fields=["next_offset", "update_at", "refused_count"])


def _take_message(bot: TelegramBot, message: ChatMessage) -> int:
    chat = bot.chats.filter(chat_id=message.chat_id).first()
    if chat is None:
        _remember_chat(bot, message)
    body = message.text.encode("utf-8", "replace")
    error = sender_error(message, bot, chat)
    if error is not None:
        bot.refused_count += 1
        _refuse(bot, message, body, error)
        return 0
    if _known(bot, message.source_key):
        return 0
    origin = MessageOrigin(message.sent_at, message.reply_to)
    if message.is_edit:
        decided = _origin_of_edit(bot, message, body)
        if isinstance(decided, FillcastError):
            _notify(_refuse(bot, message, body, decided, is_known=True), message)
            return 0
        if decided is None:
            return 0
        origin = decided
    if wait := alert_pause(bot.feed):
        return wait  # nothing is written: it is asked for again then
    if message.is_edit:
        _withdraw(bot, message)
    receipt = accept_alert(
        bot.feed, body, source=AlertSource.TELEGRAM, source_key=message.source_key, origin=origin
    )
    _notify(receipt, message)
    notify_worker_on_commit()
    return 0


def _known(bot: TelegramBot, source_key: str) -> bool:
    found = IncomingAlert.objects.filter(
        feed=bot.feed, source=AlertSource.TELEGRAM, source_key=source_key
    )
    return found.exists()


def _remember_chat(bot: TelegramBot, message: ChatMessage) -> None:
    """List a chat for the provider. A full list drops its oldest private chat, else its oldest:
    20 strangers must not keep the provider's channel away."""
    if message.is_edit:
        return
    unknown = bot.chats.filter(is_allowed=False)
    if (surplus := unknown.count() + 1 - MOST_CHATS) > 0:
        is_private = Case(When(kind=TelegramChat.Kind.PRIVATE, then=0), default=1)
        oldest = unknown.order_by(is_private, "found_at", "pk").values("pk")
        unknown.filter(pk__in=oldest[:surplus]).delete()
    TelegramChat.objects.create(
        bot=bot, chat_id=message.chat_id, kind=message.kind, title=message.title,
        found_sender_id=message.sender_id, found_sender=message.sender,
    )  # fmt: skip


def _versions(bot: TelegramBot, key: str) -> list[IncomingAlert]:
    """Return the alerts of a message and its edits, the oldest first.

    Locked: a worker that publishes one of them ends first.
    """
    rows = IncomingAlert.objects.select_for_update(of=("self",), no_key=True).filter(
        feed=bot.feed, source=AlertSource.TELEGRAM
    )
    both = rows.filter(source_key=key) | rows.filter(source_key__startswith=f"{key}:e")
    return list(both.order_by("pk"))


def _origin_of_edit(
    bot: TelegramBot, message: ChatMessage, body: bytes
) -> MessageOrigin | FillcastError | None:
    """Return what the new text of a message is about; None: its text is the same as before."""
    versions = _versions(bot, message.key)
    published = TelegramMessage.objects.filter(feed=bot.feed, key=message.key).first()
    if not versions and published is None:
        return InvalidInputError(Code.ALERT_EDIT_UNKNOWN)
    last = bytes(versions[-1].body) if versions else bytes(published.body) if published else b""
    if last in (body, body[:REFUSED_BODY_BYTES]):
        return None
    if published is not None:
        return MessageOrigin(datetime.now(UTC), message.reply_to, edit_of=message.key)
    return MessageOrigin(message.sent_at, message.reply_to, is_edit=True)


def _withdraw(bot: TelegramBot, message: ChatMessage) -> None:
    """Settle the earlier texts of an edited message that still wait, visibly."""
    error = ConflictError(Code.ALERT_EDITED)
    for alert in _versions(bot, message.key):
        if alert.is_waiting:
            for name, value in refusal_values(error).items():
                setattr(alert, name, value)
            alert.state, alert.settled_at = AlertState.REFUSED, datetime.now(UTC)
            alert.save()


def _refuse(
    bot: TelegramBot,
    message: ChatMessage,
    body: bytes,
    error: FillcastError,
    *,
    is_known: bool = False,
) -> Receipt:
    return refuse_alert(
        bot.feed, body, error, source=AlertSource.TELEGRAM, source_key=message.source_key,
        is_known=is_known,
    )  # fmt: skip


def _notify(receipt: Receipt, message: ChatMessage) -> None:
    """Notify the provider of a refusal: a chat gets no answer, as an HTTP request does."""
    if receipt.error is None or receipt.alert is None:
        return
    if message.is_edit or message.reply_to or _SIGNAL_WORDS.search(message.text):
        notify_refused(receipt.alert, receipt.error)
