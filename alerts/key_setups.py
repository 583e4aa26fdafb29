"""What API keys set up of feeds: alert addresses, Telegram bots and chats. It ends with the key."""

from collections.abc import Collection, Iterator

from django.db.models import Q
from django.utils import timezone

from alerts.models import TelegramBot, TelegramChat
from signals.models import FeedToken
from users.keys.setups import SetUp


def setups(keys: Collection[int]) -> Iterator[SetUp]:
    """Return what these keys set up and that was not removed since."""
    is_open = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    tokens = FeedToken.objects.filter(is_open, made_with__in=keys, revoked_at=None)
    for token in tokens.select_related("feed").order_by("pk"):
        yield SetUp(
            token.made_with_id, "alert address", f"{token.feed}: {token}", ends_with_key=True
        )
    for bot in TelegramBot.objects.filter(made_with__in=keys).select_related("feed").order_by("pk"):
        yield SetUp(bot.made_with_id, "Telegram bot", f"{bot.feed}: {bot}", ends_with_key=True)
    for bot in TelegramBot.objects.filter(forward_from_made_with__in=keys).select_related("feed"):
        if bot.forward_from:
            key_id = bot.forward_from_made_with_id
            yield SetUp(key_id, "list of forwarded chats", str(bot.feed), ends_with_key=True)
    chats = TelegramChat.objects.filter(made_with__in=keys, is_allowed=True)
    for chat in chats.select_related("bot__feed").order_by("pk"):
        yield SetUp(
            chat.made_with_id, "Telegram chat", f"{chat.bot.feed}: {chat}", ends_with_key=True
        )
