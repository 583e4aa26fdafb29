"""What a Telegram update says, and whether its sender may send signals. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

import telegram

from alerts.models import TelegramBot, TelegramChat
from common.errors import FillcastError, NotAllowedError
from common.reason_codes import Code

UPDATES = ("message", "edited_message", "channel_post", "edited_channel_post")
"""The kinds of updates that are asked for. There is none for a deletion (docs/alerts.md)."""
ELSEWHERE = "elsewhere"
"""What a message answers that is in another chat: it is about no trade of the feed."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A text that was written or edited in a chat.

    sender_id: a user, or a group's own number for its anonymous admins; None: a post of a channel.
    origin_id: the chat from which it was forwarded; 0 if that is hidden; None: not forwarded.
    reply_to: the key of the message that it answers; '' without one.
    """

    update_id: int
    chat_id: int
    kind: str
    title: str
    message_id: int
    sender_id: int | None
    sender: str
    text: str
    sent_at: datetime
    is_edit: bool = False
    origin_id: int | None = None
    reply_to: str = ""

    @property
    def key(self) -> str:
        """Which message it is, edited or not."""
        return f"{self.chat_id}:{self.message_id}"

    @property
    def source_key(self) -> str:
        """Which version of the message it is: the same when Telegram sends it again."""
        return f"{self.key}:e{self.update_id}" if self.is_edit else self.key


# What is crossed out, quoted or hidden is not a signal of this message.
WITHDRAWN = {"strikethrough", "blockquote", "expandable_blockquote", "spoiler"}


def message_of(update: telegram.Update) -> ChatMessage | None:
    """Return what an update says; None for what holds no text (a picture, a member who joined) and
    for the copy of a channel's post that Telegram puts into the channel's group by itself."""
    post = update.channel_post or update.edited_channel_post
    message = post or update.message or update.edited_message
    if message is None or message.is_automatic_forward:
        return None
    text = message.text or message.caption or ""
    if not text.strip():
        return None
    formats = {str(one.type) for one in (*message.entities, *message.caption_entities)}
    if formats & WITHDRAWN:  # plain text has lost this: the reader refuses what is marked so
        text = f"> {text}"
    sender_id, sender = (None, "") if post else _sender(message)
    chat = message.chat
    return ChatMessage(
        update_id=update.update_id,
        chat_id=chat.id,
        kind=str(chat.type),
        title=(chat.title or chat.full_name or "")[:200],
        message_id=message.message_id,
        sender_id=sender_id,
        sender=sender[:200],
        text=text,
        sent_at=_sent_at(message),
        is_edit=bool(update.edited_channel_post or update.edited_message),
        origin_id=_origin(message),
        reply_to=_reply_to(message),
    )


def _sender(message: telegram.Message) -> tuple[int, str]:
    if message.sender_chat is not None:  # an anonymous admin, or a user as a channel
        return message.sender_chat.id, message.sender_chat.title or ""
    user = message.from_user
    return (user.id, user.full_name) if user else (0, "")


def _origin(message: telegram.Message) -> int | None:
    origin = message.forward_origin
    if origin is None:
        return None
    if isinstance(origin, telegram.MessageOriginChannel):
        return origin.chat.id
    if isinstance(origin, telegram.MessageOriginChat):
        return origin.sender_chat.id
    if isinstance(origin, telegram.MessageOriginUser):
        return origin.sender_user.id
    return 0


def _reply_to(message: telegram.Message) -> str:
    if message.external_reply is not None:
        return ELSEWHERE
    answered = message.reply_to_message
    if answered is None:
        return ""
    # In a forum each message answers the one that created its topic.
    if message.is_topic_message and answered.message_id == message.message_thread_id:
        return ""
    return f"{message.chat.id}:{answered.message_id}"


def sender_error(
    message: ChatMessage, bot: TelegramBot, chat: TelegramChat | None
) -> FillcastError | None:
    """Return why a message is not believed; None if it may be a signal."""
    if chat is None or not chat.is_allowed or chat.ended_with_key:
        detail = f"{message.title or 'The chat'} ({message.chat_id}) is not allowed."
        return NotAllowedError(Code.TELEGRAM_CHAT_NOT_ALLOWED, detail)
    if message.sender_id is not None and message.sender_id not in chat.sender_ids:
        detail = f"{message.sender or 'The sender'} ({message.sender_id}) is not allowed here."
        return NotAllowedError(Code.TELEGRAM_SENDER_NOT_ALLOWED, detail)
    if message.origin_id is not None and message.origin_id not in bot.counted_origins:
        origin = f"the chat {message.origin_id}" if message.origin_id else "a hidden sender"
        return NotAllowedError(Code.TELEGRAM_FORWARDED, f"It was forwarded from {origin}.")
    return None


def _sent_at(message: telegram.Message) -> datetime:
    """Return when a message was written; a forwarded one, when its original was."""
    dates = [message.date, *([message.forward_origin.date] if message.forward_origin else [])]
    return min(dates).astimezone(UTC)
