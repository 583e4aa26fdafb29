"""The addresses of channels from the fields that people know: a bot's token, a webhook's address.

The result is what `services.create_channel` takes, so that its rules hold here, too. Pure.
"""

import re
from urllib.parse import quote, urlsplit

from common.errors import InvalidInputError
from common.reason_codes import Code

BOT_TOKEN = re.compile(r"[0-9]{3,20}:[A-Za-z0-9_-]{20,80}")
CHAT_ID = re.compile(r"-?[0-9]{3,20}|@[A-Za-z][A-Za-z0-9_]{3,31}")
SLACK_PATH = re.compile(r"/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+/?")
DISCORD_PATH = re.compile(r"/api/(v[0-9]+/)?webhooks/[0-9]+/[A-Za-z0-9_-]+/?")


def mail_url(address: str) -> str:
    """Return the address of an e-mail channel; `create_channel` checks it."""
    return f"mailto:{address.strip()}"


def telegram_url(bot_token: str, chat_id: str) -> str:
    """Return the address of a chat that a bot writes to. Raises InvalidInputError."""
    token, chat = bot_token.strip(), chat_id.strip()
    if not BOT_TOKEN.fullmatch(token):
        raise InvalidInputError(
            Code.FIELD_INVALID,
            "A bot's token has a number, a colon and about 35 letters: copy it from @BotFather.",
            field="bot_token",
        )
    if not CHAT_ID.fullmatch(chat):
        raise InvalidInputError(
            Code.FIELD_INVALID,
            "A chat is a number, which begins with a minus for groups, or a channel's @name.",
            field="chat_id",
        )
    return f"tgram://{token}/{quote(chat, safe='@-')}/"


def discord_url(webhook_url: str) -> str:
    """Return the address of a channel's webhook in Discord. Raises InvalidInputError."""
    expected = "https://discord.com/api/webhooks/…: in Discord, Edit Channel, Integrations."
    return _of(webhook_url, ("discord.com", "discordapp.com"), DISCORD_PATH, expected)


def slack_url(webhook_url: str) -> str:
    """Return the address of an incoming webhook of Slack. Raises InvalidInputError."""
    expected = "https://hooks.slack.com/services/…: in Slack, your app's Incoming Webhooks."
    return _of(webhook_url, ("hooks.slack.com",), SLACK_PATH, expected)


def _of(url: str, hosts: tuple[str, ...], path: re.Pattern[str], expected: str) -> str:
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        parts = urlsplit("")
    is_right = parts.scheme == "https" and parts.netloc in hosts and path.fullmatch(parts.path)
    if not is_right:
        raise InvalidInputError(Code.FIELD_INVALID, f"Expected {expected}", field="webhook_url")
    return f"https://{parts.netloc}{parts.path}"
