"""Read the messages of all bots that this process holds, by long polling.

One thread works with the database, one event loop waits for Telegram: while a call waits, no
transaction is open, and nothing spins. docs/adr/0043.
"""

import asyncio
import hashlib
import os
import queue
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F

from alerts.models import TelegramBot
from alerts.telegram.bot_calls import BASE_URL, Answer, BotClient, Failure, failure_of
from alerts.telegram.leases import HeldBot, release_bots, take_bots
from alerts.telegram.tokens import open_token
from alerts.telegram.updates import NUMBERING, Lease, LeaseLostError, take_update
from common.clocks import machine_time
from common.errors import FillcastError
from common.failpoints import failpoint
from common.reason_codes import Code
from events.models import EventKind
from events.services import emit

log = structlog.get_logger(__name__)
POLL_SECONDS = 25.0
LEASE_SECONDS = 40.0
REFRESH_SECONDS = 2.0
END_SECONDS = 2.0
LONGEST_STEP = 0.5
NOTIFIED_AFTER = 5  # failures in a row; a refused token at once


@dataclass(slots=True)
class Poll:
    """A call that is under way. digest: of the token it is made with."""

    lease: Lease
    digest: str
    client: BotClient
    future: Future[None] | None = None


class TelegramPoller:
    """Polls bots. Every process may have one; each bot is polled by the process that holds it."""

    def __init__(
        self,
        *,
        base_url: str = BASE_URL,
        poll_seconds: float = POLL_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
        refresh_seconds: float = REFRESH_SECONDS,
        shortest: float = 1.0,
    ) -> None:
        """shortest: seconds between two calls that return nothing."""
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._base_url, self._poll_seconds = base_url, poll_seconds
        self._lease_seconds, self._refresh_seconds = lease_seconds, refresh_seconds
        self._polls: dict[int, Poll] = {}
        self._clients: dict[int, tuple[str, BotClient]] = {}
        self._answers: queue.SimpleQueue[tuple[Poll, Answer]] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._refreshed_at, self._shortest = float("-inf"), shortest

    def run(self, is_ending: Callable[[], bool]) -> None:
        """Poll until the process ends, or until it holds no bot."""
        while not is_ending():
            if not self.step():
                return
        self.close()

    def step(self) -> bool:
        """Take and renew bots if it is time to, then store the next answer; False: no bots."""
        if machine_time() - self._refreshed_at >= self._refresh_seconds:
            self.refresh()
        if not self._clients and self._answers.empty():
            return False
        due_in = self._refreshed_at + self._refresh_seconds - machine_time()
        wait = min(max(0.0, due_in), LONGEST_STEP)  # or a process that ends would wait for it
        try:
            poll, answer = self._answers.get(timeout=wait)
        except queue.Empty:
            return True
        self._settle(poll, answer)
        return True

    def refresh(self) -> None:
        """Begin a call for each bot that is due; end those of bots that are no longer ours."""
        held = {bot.id: bot for bot in take_bots(self.holder, self._lease_seconds)}
        self._refreshed_at = machine_time()
        for bot_id, poll in list(self._polls.items()):
            bot = held.get(bot_id)
            if bot is None or bot.fence != poll.lease.fence:
                self._forget(bot_id)
        for bot_id in self._clients.keys() - held.keys():
            self._forget(bot_id)
        for bot in held.values():
            if bot.is_due and bot.id not in self._polls:
                self._begin(bot)

    def close(self) -> None:
        """End all calls and give the bots to other processes."""
        ids = list(self._clients)
        closing = [self._forget(bot_id) for bot_id in ids]
        if ids:
            release_bots(self.holder, ids)
        wait_for([one for one in closing if one is not None], timeout=END_SECONDS)
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2)
            if not self._thread.is_alive():
                _end_tasks(self._loop)
                self._loop.close()
            self._loop = self._thread = None

    def _begin(self, bot: HeldBot) -> None:
        lease = Lease(bot.id, self.holder, bot.fence)
        try:
            client, digest = self._client(bot)
        except FillcastError as error:  # the stored token does not open
            self._store_failure(lease, Failure(error.code, error.detail, 60.0))
            return
        poll = Poll(lease, digest, client)
        # After a week without updates Telegram may count from any number: ask for the oldest.
        is_old = bot.update_at is None or datetime.now(UTC) - bot.update_at > NUMBERING
        offset = 0 if is_old else bot.next_offset
        call = self._call(poll, offset, bot.is_checked, bot.failures)
        self._polls[bot.id] = poll
        poll.future = asyncio.run_coroutine_threadsafe(call, self._running_loop())

    def _client(self, bot: HeldBot) -> tuple[BotClient, str]:
        digest = hashlib.sha256(bytes(bot.token_sealed)).hexdigest()
        known = self._clients.get(bot.id)
        if known is not None and known[0] == digest:
            return known[1], digest
        self._forget(bot.id)
        row = TelegramBot.objects.select_related("feed").get(pk=bot.id)
        client = BotClient(open_token(row), self._base_url)
        self._clients[bot.id] = (digest, client)
        return client, digest

    async def _call(self, poll: Poll, offset: int, is_checked: bool, failures: int) -> None:
        began = machine_time()
        try:
            async with asyncio.timeout(self._poll_seconds + 30):
                if is_checked:
                    answer = await poll.client.updates(offset, self._poll_seconds)
                else:
                    answer = await poll.client.check()
            if (
                is_checked and not answer.updates
            ):  # a server that does not wait must not make us spin
                await asyncio.sleep(max(0.0, self._shortest - (machine_time() - began)))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # any: libraries raise many types
            answer = Answer(failure=failure_of(error, poll.client.token, failures))
        self._answers.put((poll, answer))

    def _settle(self, poll: Poll, answer: Answer) -> None:
        """Store an answer, then call again. If that fails, the next refresh calls again from the
        place that is stored."""
        if self._polls.get(poll.lease.bot) is not poll:
            return  # an answer to a call that was given up
        del self._polls[poll.lease.bot]
        failpoint("telegram.received")
        try:
            self._store(poll.lease, answer)
        except LeaseLostError:
            self._forget(poll.lease.bot)
        self._refreshed_at = float("-inf")

    def _store(self, lease: Lease, answer: Answer) -> None:
        if answer.failure is not None:
            self._store_failure(lease, answer.failure)
            return
        wait = 0
        for update in answer.updates:
            if wait := take_update(lease, update):
                break
        values: dict[str, object] = {"contact_at": datetime.now(UTC)}
        values |= {"error_code": "", "error_detail": "", "error_at": None, "failures": 0}
        if wait:
            values["due_at"] = datetime.now(UTC) + timedelta(seconds=wait)
        if answer.username:
            values |= {"username": answer.username, "checked_at": datetime.now(UTC)}
        try:
            with transaction.atomic():
                self._write(lease, values)
        except IntegrityError:
            self._store_failure(lease, Failure(Code.TELEGRAM_BOT_TAKEN, "", 600.0))

    def _store_failure(self, lease: Lease, failure: Failure) -> None:
        now = datetime.now(UTC)
        with transaction.atomic():
            self._write(
                lease,
                {
                    "error_code": str(failure.code), "error_at": now, "failures": F("failures") + 1,
                    "error_detail": failure.detail[:300],
                    "due_at": now + timedelta(seconds=failure.pause),
                },
            )  # fmt: skip
            bot = TelegramBot.objects.select_related("feed").get(pk=lease.bot)
            is_final = failure.code in (
                Code.TELEGRAM_TOKEN_REFUSED, Code.TELEGRAM_TOKEN_UNREADABLE,
            )  # fmt: skip
            if bot.failures == (1 if is_final else NOTIFIED_AFTER):
                emit(
                    EventKind.TELEGRAM_STOPPED,
                    user_id=bot.feed.owner_id,
                    payload={
                        "feed": bot.feed.slug, "bot": str(bot), "code": str(failure.code),
                        "detail": failure.detail or failure.code.sentence,
                    },
                )  # fmt: skip
        log.warning("telegram bot not read", bot=lease.bot, code=str(failure.code))

    def _write(self, lease: Lease, values: dict[str, object]) -> None:
        """Write the state of a bot that this process still holds. Raises LeaseLostError."""
        ours = TelegramBot.objects.filter(
            pk=lease.bot, holder=lease.holder, fence=lease.fence, is_paused=False
        )
        if not ours.update(**values):
            raise LeaseLostError

    def _forget(self, bot_id: int) -> Future[None] | None:
        """End a bot's call; return what closes its connections."""
        poll = self._polls.pop(bot_id, None)
        if poll is not None and poll.future is not None:
            poll.future.cancel()
        known = self._clients.pop(bot_id, None)
        if known is None or self._loop is None:
            return None
        return asyncio.run_coroutine_threadsafe(known[1].close(), self._loop)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="telegram calls", daemon=True
            )
            self._thread.start()
        return self._loop


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what has not ended, such as the close of a bot's connections on a slow machine."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=END_SECONDS))
