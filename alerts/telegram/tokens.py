"""The token of a feed's bot: how it is written, and how it is sealed for its row.

The web process seals a token and cannot open it; the process that polls can.
"""

import re

from django.conf import settings

from alerts.models import TelegramBot
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.sealing import CannotOpenError, is_sealed_with_key, open_sealed, public_key_of, seal

_TOKEN = re.compile(r"([0-9]{6,16}):[A-Za-z0-9_-]{30,60}")


def bot_id_of(token: str) -> int:
    """Return the number of the bot whose token this is. Raises InvalidInputError."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        detail = "This is no bot token. BotFather writes it as 123456789:AAH… in one line."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="token")
    return int(match[1])


def seal_token(token: str, *, feed_id: int, owner_id: int) -> bytes:
    """Encrypt a token for a feed and its owner. Raises ConflictError without a key."""
    return seal(token.encode(), context=_context(feed_id, owner_id), public_key=_sealing_key())


def open_token(bot: TelegramBot) -> str:
    """Return the token of a row with its feed. Raises ConflictError TELEGRAM_TOKEN_UNREADABLE."""
    try:
        opened = open_sealed(
            bot.token_sealed,
            context=_context(bot.feed_id, bot.feed.owner_id),
            private_keys=settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
        )
    except CannotOpenError as error:
        raise ConflictError(Code.TELEGRAM_TOKEN_UNREADABLE, str(error)) from error
    return opened.decode()


def is_token_sealed_with_current_key(bot: TelegramBot) -> bool:
    """Whether the token is encrypted for the current key, not for one that was replaced."""
    return is_sealed_with_key(bot.token_sealed, _sealing_key())


def _sealing_key() -> bytes:
    if key := settings.FILLCAST_CREDENTIALS_PUBLIC_KEY:
        return bytes(key)
    if keys := settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS:
        return public_key_of(keys[0])
    detail = "FILLCAST_CREDENTIALS_PUBLIC_KEY is not set, so no bot's token can be stored."
    raise ConflictError(Code.INSTALLATION_FAULT, detail)


def _context(feed_id: int, owner_id: int) -> bytes:
    return f"alerts.telegrambot {feed_id} {owner_id}".encode()
