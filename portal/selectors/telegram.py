"""What the page of a feed's Telegram bot shows."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.formatting import known_code
from common.reason_codes import Code
from signals.models import Feed, TelegramBot, TelegramChat

STALE = timedelta(minutes=3)
"""Telegram answers each call within half a minute."""


@dataclass(frozen=True, slots=True)
class ShownBot:
    """A bot and what it does now. state: for the mark; label: its word; hint: what to do."""

    bot: TelegramBot
    chats: tuple[TelegramChat, ...]
    state: str
    label: str
    sentence: str = ""
    hint: str = ""

    @property
    def has_chat(self) -> bool:
        """Whether a chat is accepted."""
        return any(chat.is_allowed for chat in self.chats)


def bot_of(feed: Feed) -> ShownBot | None:
    """Return a feed's bot with its chats, accepted ones first; None without one."""
    bot = TelegramBot.objects.filter(feed=feed).first()
    if bot is None:
        return None
    chats = tuple(bot.chats.order_by("-is_allowed", "-found_at"))
    if bot.is_paused:
        return ShownBot(bot, chats, "paused", "Paused", "Nothing is read.")
    if bot.error_code and known_code(bot.error_code):
        code = Code(bot.error_code)
        return ShownBot(bot, chats, "rejected", "Not read", code.sentence, code.hint)
    if bot.checked_at is None:
        return ShownBot(bot, chats, "pending", "Being tested", "A worker asks Telegram now.")
    contact = bot.contact_at or bot.checked_at
    if datetime.now(UTC) - contact > STALE:
        text = "No worker has read it for minutes. Messages wait at Telegram for up to 24 hours."
        return ShownBot(bot, chats, "attention", "Not read", text, "Operators see why.")
    if not any(chat.is_allowed for chat in chats):
        return ShownBot(bot, chats, "pending", "Waits for a chat", "No chat is accepted yet.")
    return ShownBot(bot, chats, "ok", "Reads", "Messages become signals within seconds.")
