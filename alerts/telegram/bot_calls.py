"""Calls of Telegram's Bot API, and what their errors mean. Touches no database."""

from dataclasses import dataclass, field
from datetime import timedelta

import telegram
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError
from telegram.request import HTTPXRequest

from alerts.telegram.messages import UPDATES
from common.reason_codes import Code

BASE_URL = "https://api.telegram.org/bot"
"""Fixed: an address that tenants could choose would reach into our network."""
CALL_SECONDS = 10.0
MOST_PAUSE = 60.0
TOKEN_PAUSE = 600.0  # a refused token stays so until it is replaced


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed. pause: seconds until the next one."""

    code: Code
    detail: str
    pause: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned: the bot's name, or updates, or why it failed."""

    username: str = ""
    updates: tuple[telegram.Update, ...] = ()
    failure: Failure | None = None


@dataclass(slots=True)
class BotClient:
    """A bot's connection to Telegram, for one event loop."""

    token: str = field(repr=False)
    base_url: str = BASE_URL
    _bot: telegram.Bot | None = field(default=None, repr=False)
    _request: HTTPXRequest | None = field(default=None, repr=False)

    async def check(self) -> Answer:
        """Ask Telegram whose token this is."""
        bot = await self._opened()
        me = await bot.get_me()
        return Answer(username=me.username or "")

    async def updates(self, offset: int, seconds: float) -> Answer:
        """Wait for updates from `offset` on (0: the oldest), for at most so many seconds."""
        bot = await self._opened()
        found = await bot.get_updates(
            offset=offset or None, timeout=timedelta(seconds=seconds), allowed_updates=UPDATES
        )
        return Answer(updates=found)

    async def _opened(self) -> telegram.Bot:
        if self._bot is None:
            self._request = HTTPXRequest(
                connection_pool_size=2, connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS,
                write_timeout=CALL_SECONDS, pool_timeout=CALL_SECONDS,
            )  # fmt: skip
            await self._request.initialize()
            # One pool for both kinds of calls: they are never made at once.
            self._bot = telegram.Bot(
                self.token, base_url=self.base_url,
                request=self._request, get_updates_request=self._request,
            )  # fmt: skip
        return self._bot

    async def close(self) -> None:
        """Close its connections."""
        if self._request is not None:
            await self._request.shutdown()
            self._bot = self._request = None


def failure_of(error: BaseException, token: str, failures: int) -> Failure:
    """Return what an error means. failures: how many there were in a row before it."""
    detail = str(error).replace(token, "[hidden]")[:300]
    pause = min(2.0**failures, MOST_PAUSE)
    if isinstance(error, InvalidToken):
        return Failure(Code.TELEGRAM_TOKEN_REFUSED, detail, TOKEN_PAUSE)
    if isinstance(error, Conflict):
        return Failure(Code.TELEGRAM_CONFLICT, detail, max(pause, 3.0))
    if isinstance(error, RetryAfter):
        after = error.retry_after
        seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
        return Failure(Code.TELEGRAM_SLOW_DOWN, f"It asks for {seconds:.0f} s.", seconds)
    known = isinstance(error, TelegramError | TimeoutError)
    text = detail or "It did not answer in time."
    return Failure(Code.TELEGRAM_UNREACHABLE, text if known else type(error).__name__, pause)
