"""One connection's session with TWS: kept open, in step with the broker, and asked politely.

A disconnect wipes what ib_async knows and nothing reconnects by itself; while TWS has lost IBKR
(1100) the socket stays open and TWS answers from memory. So a session is `usable` only when the
line is open, IBKR is behind it, and orders and executions have been read since both came back.
"""

import asyncio
import logging
import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ib_async.contract import Contract

from brokers.base import ReadFailed
from brokers.ibkr import codes
from brokers.ibkr.contracts import symbol_of
from brokers.ibkr.endpoint import Endpoint
from brokers.ibkr.malformed_messages import quotable_text
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_events import OrderEventHandler
from brokers.ibkr.order_snapshots import OrderSnapshots, Snapshot
from brokers.ibkr.requests import RequestClient
from brokers.ibkr.timing import Timing
from brokers.ibkr.trading_day import offset_of, zone_of
from brokers.ibkr.tws_socket import TwsClient, open_line
from brokers.ibkr.wrapper import TIME, TwsWrapper
from brokers.rate_limits import RateLimiter
from common.reason_codes import Code

log = logging.getLogger(__name__)


class Session:
    """One clientId at one gateway, on the event loop that made it."""

    def __init__(
        self, endpoint: Endpoint, ledger: OrderCache, rate_limiter: RateLimiter, pace: Timing
    ) -> None:
        self.endpoint, self.ledger, self.rate_limiter = endpoint, ledger, rate_limiter
        self.timing = replace(pace, reply=endpoint.reply_timeout or pace.reply)
        self.names: dict[int, str] = {}  # conId → the symbol that our map gives it
        self.details: dict[str | int, Any] = {}  # symbol or conId → ContractDetails
        self.unknown: set[str] = set()  # symbols that IBKR does not have
        self.read_only, self.currency, self.garbage = False, "", ""
        self.steady_since = 0.0  # on the loop's clock: the line is open, IBKR stands behind it
        self.wrong_zone = ""  # what is wrong with the setting: then nobody is surely absent
        self.rates: dict[str, Decimal] = {}  # currency → what one of it is in the account's own
        self._order_events = OrderEventHandler(
            endpoint.connection_id, endpoint.account, ledger, self.name_of, self.request_sync
        )
        self._wrapper = TwsWrapper(self, self._order_events, endpoint.timezone)
        self.lines = self._wrapper.lines  # what prices are subscribed to
        self._client: TwsClient | None = None
        self._synced = self._cut_off = self._trouble_reported = self.closed = False
        self._why: tuple[Code, str] = (Code.NOT_CONNECTED, "not connected yet")
        self._keeper: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        self._refused: asyncio.Future[None] | None = None
        self._stir, self._hurry = asyncio.Event(), asyncio.Event()
        self._sync_requested = False
        self._readings = OrderSnapshots(self, self._wrapper)
        questions = RequestClient(self, self._wrapper)
        self.ask, self.say = questions.ask, questions.say

    # ---- asked by callers -----------------------------------------------------------------
    @property
    def usable(self) -> bool:
        """Whether orders may be sent and lists be believed."""
        return self._open and self._synced and not self._cut_off

    @property
    def client(self) -> TwsClient:
        """The open line. Raises ReadFailed."""
        if self._client is None or not self._open:
            raise ReadFailed(*self._why)
        return self._client

    @property
    def _open(self) -> bool:
        return self._client is not None and self._client.alive

    async def ready(self) -> None:
        """Wait until the session is usable. Raises ReadFailed with the reason if it is not soon."""
        if self.closed:  # it is in no table any more: nobody would end what is opened now
            raise ReadFailed(Code.NOT_CONNECTED, "closed")
        if self._keeper is None or self._keeper.done():
            self._attempt = asyncio.get_running_loop().create_future()  # all who come now wait
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        if self.usable:
            return
        if self._attempt is not None and not self._attempt.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timing.connect):
                    await asyncio.shield(self._attempt)
        elif self._open and not self._cut_off:  # IBKR is back; the orders are to be read first
            await self._sync()
        self.require_usable()

    async def ready_to_write(self) -> None:
        """Wait until orders may be sent. Raises ReadFailed; then the next try is soon."""
        if not self.usable:
            self._hurry.set()
        await self.ready()
        if self.read_only:
            await self._sync()
        if self.read_only:
            raise ReadFailed(Code.TRADING_DISABLED, "the API is read-only")

    def require_ibkr(self) -> None:
        """Raise ReadFailed while TWS answers from its memory."""
        if self._cut_off:
            raise ReadFailed(*self._why)

    def require_usable(self) -> None:
        """Raise ReadFailed with the reason unless the session is usable now."""
        if not self.usable:
            raise ReadFailed(*self._why)

    async def snapshot(self) -> Snapshot:
        """Read open, ended and executed orders anew; who asks before it is sent shares it. Raises
        ReadFailed."""
        return await self._readings.fresh()

    def request_sync(self) -> None:
        """Have the orders read anew soon."""
        self._sync_requested = True
        self._stir.set()

    def name_of(self, contract: Contract) -> str:
        """Return our symbol of a contract: what our orders called it, else what the map does."""
        named = self.ledger.called(self.endpoint.connection_id, contract.conId)
        return (
            named or self.names.get(contract.conId) or symbol_of(contract, self.endpoint.settings)
        )

    async def close(self) -> None:
        """End the session in peace, for good."""
        self.closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        self._drop((Code.NOT_CONNECTED, "closed"))  # also where it was never open
        await self.lines.close()

    # ---- what TWS says --------------------------------------------------------------------
    def on_error(self, req_id: int, number: int, text: str) -> None:
        """An error that answers no question: about the line, the session or an order."""
        if "read-only" in text.lower():
            self.read_only = True
            self._wrapper.fail_lists(ReadFailed(Code.TRADING_DISABLED, text))
        if number in codes.LINE_LOST:
            self._cut_off, self._synced = True, False
            self._why = (Code.BROKER_UNREACHABLE, f"{number}: {text}")
            self.lines.fail(ReadFailed(*self._why))
        elif number in codes.LINE_RESTORED:
            self._cut_off = self._synced = False
            self.steady_since = asyncio.get_running_loop().time()
            self.request_sync()
        elif number in codes.PRICES_PAUSE:
            self.lines.forget()
        elif number == codes.CLIENT_ID_IN_USE:
            if self._refused is not None and not self._refused.done():
                self._refused.set_exception(ReadFailed(Code.CLIENT_ID_IN_USE, text))
                self._refused.exception()
        elif req_id > 0:
            mine = self.endpoint.connection_id, self.endpoint.client_id
            record = self.ledger.by_number(*mine, req_id)
            if record is not None:
                self._order_events.order_error(record, number, text)
        self.ledger.wake_all(self.endpoint.connection_id)

    def on_lost(self) -> None:
        """The line has ended; where we have cut it ourselves the reason is known."""
        if self._client is not None:
            self._drop((Code.NOT_CONNECTED, "the line was closed"))

    def on_garbage(self, raw: str) -> None:
        """Something could not be read: it may have been about any order."""
        log.warning("ibkr: not understood: %r", raw)
        accounts = self._client.managed_accounts if self._client else []
        self.garbage = quotable_text(raw, self.endpoint, accounts, self.ledger)
        self.request_sync()
        self.ledger.wake_all(self.endpoint.connection_id)

    # ---- keeping it open ------------------------------------------------------------------
    async def _keep(self) -> None:
        """Connect, stay, connect again: later and later, never all at the same moment."""
        delay, min_delay = self.timing.first_delay, self.timing.hurry
        while True:
            if self._attempt is None or self._attempt.done():
                self._attempt = asyncio.get_running_loop().create_future()
            try:
                await self._connect()
                log.info("ibkr: in step with %s:%s as client %s", *self.endpoint.address)
                self._trouble_reported = False
                self._attempt.set_result(None)
                delay = self.timing.first_delay
                await self._stay()
            except asyncio.CancelledError:  # closed, or the loop ends
                self._drop((Code.NOT_CONNECTED, "closed"))
                raise
            except Exception as error:
                code = error.code if isinstance(error, ReadFailed) else Code.NOT_CONNECTED
                detail = getattr(error, "detail", "") or f"{type(error).__name__} {error}"
                if not self._trouble_reported:  # once, and not each time that it is tried
                    log.warning("ibkr: %s:%s as client %s: %s", *self.endpoint.address, detail)
                self._trouble_reported = True
                self._drop((code, f"{self.endpoint.host}:{self.endpoint.port} {detail}"))
                refused = code is Code.CLIENT_ID_IN_USE
                min_delay = self.timing.client_id_delay if refused else self.timing.hurry
                delay = max(delay, min_delay)
            finally:
                if not self._attempt.done():
                    self._attempt.set_result(None)
            await self._pause(min_delay, delay * random.uniform(0.75, 1.25))
            delay = min(delay * 2, self.timing.longest_delay)

    async def _pause(self, min_delay: float, seconds: float) -> None:
        """Wait before the next try; only the least of it where somebody wants to write."""
        self._hurry.clear()
        await asyncio.sleep(min(min_delay, seconds))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds - min_delay)):
                await self._hurry.wait()

    async def _connect(self) -> None:
        self._refused = asyncio.get_running_loop().create_future()
        client = self._client = TwsClient(self._wrapper)
        client.conn.disconnected += self._on_socket_closed
        self._cut_off = False
        async with asyncio.timeout(self.timing.connect):
            await open_line(client, self.endpoint.address, self._refused, self.rate_limiter)
        client.prepare(self.timing.reply)
        self.steady_since = asyncio.get_running_loop().time()
        now = datetime.now(UTC)
        zone, self.wrong_zone = zone_of(
            self.endpoint.timezone, offset_of(client.greeting, now), now
        )
        self._wrapper.read_times_in(zone)
        if self.endpoint.account not in (accounts := client.getAccounts()):
            others = f"the login has {len(accounts)} others"  # whose they are is not ours to tell
            raise ReadFailed(Code.UNKNOWN_ACCOUNT, f"no {self.endpoint.account}; {others}")
        await self._sync()

    def _on_socket_closed(self, message: str) -> None:
        if self._refused is not None and not self._refused.done():
            self._refused.set_exception(ConnectionError(message or "closed at the greeting"))
            self._refused.exception()

    async def _sync(self) -> None:
        """Read the orders; from then on what is in no list is not there. A read-only API does not
        tell them, and takes none."""
        self._sync_requested = False
        try:
            await self.snapshot()
            self.read_only = False
            self.ledger.report_dropped(self.endpoint.connection_id)
        except ReadFailed as error:
            if error.code is not Code.TRADING_DISABLED:
                raise
        if not self._cut_off:
            self._synced = True

    async def _stay(self) -> None:
        """Look after an open line until it ends. Raises what ends it."""
        loop = asyncio.get_running_loop()
        synced_at = heard_at = loop.time()
        cut_off_since: float | None = None
        while True:
            self._stir.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timing.ping):  # wait_for of 3.11 can lose a cancel
                    await self._stir.wait()
            if not self._open:
                raise ReadFailed(*self._why)
            now = loop.time()
            if self._cut_off:
                cut_off_since = cut_off_since or now
                if now - cut_off_since > self.timing.cut_off:
                    raise ReadFailed(*self._why)
                continue
            cut_off_since = None
            if self._sync_requested or not self._synced or now - synced_at >= self.timing.resync:
                await self._sync()
                synced_at = heard_at = loop.time()
            elif now - heard_at >= self.timing.ping:
                await self.ask(lambda client, _: client.reqCurrentTime(), key=TIME)
                heard_at = loop.time()

    def _drop(self, why: tuple[Code, str]) -> None:
        """The line is over: nothing more is believed, who waits is woken."""
        client, self._client = self._client, None
        self._synced, self._why = False, why
        if client is not None:
            client.cut()
        self._wrapper.fail_all(ReadFailed(*why))
        self.lines.fail(ReadFailed(*self._why))
        self._stir.set()
        self.ledger.wake_all(self.endpoint.connection_id)
