"""Set up, pause and remove a feed's bot; allow chats. Each in one transaction."""

from collections.abc import Collection

from django.db import IntegrityError, transaction
from django.db.models import F

from alerts.models import TelegramBot, TelegramChat
from alerts.telegram.tokens import bot_id_of, seal_token
from common.db.functions import ClockTimestamp
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from signals.locks import require_not_archived
from signals.models import Feed
from users.joins import key_of, setter_key
from users.models import User

MOST_IDS = 50


@transaction.atomic
def set_bot(feed: Feed, token: str, *, by: User | None) -> TelegramBot:
    """Store a bot's token, in place of an earlier one; the next poll checks it.

    A new token of the same bot keeps its chats and its place; another bot starts without chats.
    One that an API key sets is read while that key is open.
    Raises InvalidInputError FIELD_INVALID; ConflictError STATE_CONFLICT, also for an archived feed;
    NotAllowedError.
    """
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    require_not_archived(feed)
    token = token.strip()
    bot_id = bot_id_of(token)
    sealed = seal_token(token, feed_id=feed.pk, owner_id=feed.owner_id)
    before = TelegramBot.objects.select_for_update(no_key=True).filter(feed=feed).first()
    if before is not None and before.bot_id != bot_id:
        before.delete()
        before = None
    if before is not None:
        key = setter_key(key_of(by), before.made_with_id, is_changed=False)
        return _changed(before, token_sealed=sealed, checked_at=None, made_with_id=key)
    try:
        with transaction.atomic():
            return TelegramBot.objects.create(
                feed=feed, bot_id=bot_id, token_sealed=sealed, made_with_id=key_of(by)
            )
    except IntegrityError as error:  # the same form was sent twice
        detail = "The feed has got a bot meanwhile. Reload the page."
        raise ConflictError(Code.STATE_CONFLICT, detail) from error


@transaction.atomic
def change_bot(
    feed: Feed,
    *,
    by: User | None,
    is_paused: bool | None = None,
    forward_from: Collection[int] | None = None,
) -> TelegramBot:
    """Pause or resume a bot; set the chats whose forwarded messages count.

    Those that an API key sets count while that key is open.
    Raises TelegramBot.DoesNotExist, InvalidInputError FIELD_INVALID, NotAllowedError.
    """
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    bot = TelegramBot.objects.select_for_update(no_key=True).get(feed=feed)
    changes: dict[str, object] = {}
    if is_paused is not None:
        changes["is_paused"] = is_paused
    if forward_from is not None:
        ids = _ids(forward_from, "forward_from")
        changes["forward_from"] = ids
        changes["forward_from_made_with_id"] = setter_key(
            key_of(by), bot.forward_from_made_with_id, is_changed=ids != bot.forward_from
        )
    return _changed(bot, **changes)


def remove_bot(feed: Feed, *, by: User | None) -> bool:
    """Remove a feed's bot with its chats; its messages that were stored stay. False: none."""
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    return bool(TelegramBot.objects.filter(feed=feed).delete()[0])


@transaction.atomic
def set_chat(
    feed: Feed,
    chat_id: int,
    *,
    is_allowed: bool,
    sender_ids: Collection[int] | None = None,
    by: User | None,
) -> TelegramChat:
    """Allow a chat in which the bot has seen a message, or allow it no more.

    sender_ids: who may send signals there; None: those of before, else, in a group, who wrote
    the message by which it was found. What was written before stays refused. A chat that an API
    key allows or changes is allowed while that key is open; its senders become another caller's
    only by name.
    Raises TelegramChat.DoesNotExist, InvalidInputError FIELD_INVALID or FIELD_REQUIRED (sender_ids
    of a chat that another API key set), NotAllowedError.
    """
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    chat = TelegramChat.objects.select_for_update(of=("self",), no_key=True).get(
        bot__feed=feed, chat_id=chat_id
    )
    before, has_senders = (chat.is_allowed, chat.sender_ids), chat.kind != TelegramChat.Kind.CHANNEL
    if sender_ids is not None:
        chat.sender_ids = _ids(sender_ids, "sender_ids")
    elif is_allowed and has_senders and chat.made_with_id not in (None, key_of(by)):
        detail = "An API key set its senders: name those whose messages count."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="sender_ids")
    elif not chat.sender_ids and chat.found_sender_id:
        chat.sender_ids = [chat.found_sender_id]
    chat.is_allowed = is_allowed
    if is_allowed and has_senders and not chat.sender_ids:
        detail = "In a group or a private chat, name the senders whose messages count."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="sender_ids")
    if is_allowed or sender_ids is not None:  # a refusal leaves them as whose they were
        is_changed = before != (chat.is_allowed, chat.sender_ids)
        chat.made_with_id = setter_key(key_of(by), chat.made_with_id, is_changed=is_changed)
    chat.save(update_fields=["is_allowed", "sender_ids", "made_with"])
    return chat


def _ids(values: Collection[int], field: str) -> list[int]:
    if len(values) > MOST_IDS:
        raise InvalidInputError(Code.FIELD_INVALID, f"At most {MOST_IDS}.", field=field)
    return sorted(set(values))


def _changed(bot: TelegramBot, **changes: object) -> TelegramBot:
    """Write changes and end the lease: an answer that is on its way counts no more."""
    TelegramBot.objects.filter(pk=bot.pk).update(
        **changes, holder="", fence=F("fence") + 1, lease_until=ClockTimestamp(),
        due_at=ClockTimestamp(), error_code="", error_detail="", error_at=None, failures=0,
    )  # fmt: skip
    bot.refresh_from_db()
    return bot
