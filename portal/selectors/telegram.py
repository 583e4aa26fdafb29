"""What the page of a feed's Telegram bot shows."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerts.models import TelegramBot, TelegramChat
from common.reason_codes import Code
from common.web.formatting import known_code
from signals.models import Feed
from users.keys.setters import read_keys, shown_key

STALE = timedelta(minutes=3)
"""Telegram answers each call within half a minute."""
KEEP = "If it is yours, paste its token with “Replace the token…”. If not, remove it."


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
        return any(chat.is_allowed and not chat.ended_with_key for chat in self.chats)


def bot_of(feed: Feed) -> ShownBot | None:
    """Return a feed's bot with its chats, accepted ones first; None without one."""
    bot = TelegramBot.objects.filter(feed=feed).first()
    if bot is None:
        return None
    chats = tuple(bot.chats.order_by("-is_allowed", "-found_at"))
    read_keys([bot], "made_with", "forward_from_made_with")
    read_keys(chats, "made_with")
    if bot.ended_with_key:
        key = shown_key(bot, "made_with", owner_id=feed.owner_id)
        text = f"It was set up with the API key {key}, which has ended: nothing is read."
        return ShownBot(bot, chats, "cancelled", "Ended", text, KEEP)
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
    reads = ShownBot(bot, chats, "ok", "Reads", "Messages become signals within seconds.")
    if not reads.has_chat:
        return ShownBot(bot, chats, "pending", "Waits for a chat", "No chat is accepted yet.")
    return reads
