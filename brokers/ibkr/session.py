"""One connection's session with TWS: kept open and synchronised, within the rate limit.

ib_async loses its state at a disconnect and does not reconnect. While TWS has lost IBKR (1100), the
socket stays open and TWS answers from its cache. So a session is `usable` only while the socket is
open, TWS is connected to IBKR, and orders and executions were read since both came back.
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

from brokers.base import ReadFailed, outcome_of
from brokers.ibkr import codes
from brokers.ibkr.contracts import symbol_of
from brokers.ibkr.endpoint import Endpoint
from brokers.ibkr.malformed_messages import quotable_text
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_events import OrderEventHandler
from brokers.ibkr.order_snapshots import Depth, OrderSnapshots, Snapshot
from brokers.ibkr.requests import RequestClient
from brokers.ibkr.timing import Timing
from brokers.ibkr.trading_day import offset_of, zone_of
from brokers.ibkr.tws_socket import TwsClient, open_connection
from brokers.ibkr.wrapper import NEXT_ID, TIME, TwsWrapper
from brokers.price_rounding import PriceGrid
from brokers.rate_limits import RateLimiter
from common.reason_codes import Code

log = logging.getLogger(__name__)
MAX_NUMBER = 2**31 - 10**6  # TWS reads 32 bits, and an order of others may be near their end


class Session:
    """One clientId at one gateway, on the event loop that created it."""

    def __init__(
        self, endpoint: Endpoint, order_cache: OrderCache, rate_limiter: RateLimiter, timing: Timing
    ) -> None:
        self.endpoint, self.order_cache, self.rate_limiter = endpoint, order_cache, rate_limiter
        self.timing = replace(timing, reply=endpoint.reply_timeout or timing.reply)
        self.names: dict[int, str] = {}  # conId → symbol of the connection's map
        self.details: dict[str | int, Any] = {}  # symbol or conId → ContractDetails
        self.market_rules: dict[int, PriceGrid] = {}  # by their number
        self.unknown_symbols: set[str] = set()  # symbols that IBKR does not have
        self.read_only, self.currency, self.malformed_message = False, "", ""
        self.stable_since = 0.0  # on the loop's clock: connected to TWS, and TWS to IBKR
        self.wrong_zone = ""  # the error of the timezone setting: then no absence is certain
        self.rates: dict[str, Decimal] = {}  # currency → its rate in the account's own
        self._order_events = OrderEventHandler(
            endpoint.connection_id, endpoint.account, order_cache, self.name_of, self.request_sync
        )
        self._wrapper = TwsWrapper(self, self._order_events, endpoint.timezone)
        self.lines = self._wrapper.lines  # the subscribed prices
        self._client: TwsClient | None = None
        self._synced = self._ibkr_lost = self._is_failure_logged = self.closed = False
        self._unusable_reason: tuple[Code, str] = (Code.NOT_CONNECTED, "not connected yet")
        self._connection_task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        self._refused: asyncio.Future[None] | None = None
        self._wake_up, self._retry_soon = asyncio.Event(), asyncio.Event()
        self._sync_requested = self._numbers_used = False
        self._snapshots = OrderSnapshots(self, self._wrapper)
        requests = RequestClient(self, self._wrapper)
        self.request, self.send = requests.request, requests.send

    # ---- for callers ----------------------------------------------------------------------
    @property
    def usable(self) -> bool:
        """Whether orders may be sent and lists are complete."""
        return self._open and self._synced and not self._ibkr_lost

    @property
    def client(self) -> TwsClient:
        """The connected client. Raises ReadFailed."""
        if self._client is None or not self._open:
            raise ReadFailed(*self._unusable_reason)
        return self._client

    @property
    def _open(self) -> bool:
        return self._client is not None and self._client.alive

    async def ready(self) -> None:
        """Wait until the session is usable. Raises ReadFailed with the reason after a time-out."""
        if self.closed:  # the adapter no longer refers to it and would never close it again
            raise ReadFailed(Code.NOT_CONNECTED, "closed")
        if self._connection_task is None or self._connection_task.done():
            self._attempt = asyncio.get_running_loop().create_future()  # all callers wait for it
            self._connection_task = asyncio.get_running_loop().create_task(self._run())
        if self.usable:
            return
        if self._attempt is not None and not self._attempt.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timing.connect):
                    await asyncio.shield(self._attempt)
        elif self._open and not self._ibkr_lost:  # IBKR is back: read the orders first
            await self._sync()
        self.require_usable()

    async def ready_to_write(self) -> None:
        """Wait until orders may be sent. Raises ReadFailed; the session then reconnects soon."""
        if not self.usable:
            self._retry_soon.set()
        await self.ready()
        if self.read_only:
            await self._sync()
        if self.read_only:
            raise ReadFailed(Code.TRADING_DISABLED, "the API is read-only")
        if self._numbers_used:  # by another program with our client id
            (number,) = await self.request(lambda client, _: client.reqIds(1), key=NEXT_ID)
            self.client.updateReqId(number)
            self._numbers_used = False

    def require_ibkr(self) -> None:
        """Raise ReadFailed while TWS answers from its cache."""
        if self._ibkr_lost:
            raise ReadFailed(*self._unusable_reason)

    def require_usable(self) -> None:
        """Raise ReadFailed with the reason unless the session is usable now."""
        if not self.usable:
            raise ReadFailed(*self._unusable_reason)

    async def snapshot(self, depth: Depth = Depth.ENDED) -> Snapshot:
        """Read open, ended and executed orders. Callers that wait together share one read.

        depth: what the caller needs. Raises ReadFailed."""
        return await self._snapshots.fresh(depth)

    def request_sync(self) -> None:
        """Read the orders again soon."""
        self._sync_requested = True
        self._wake_up.set()

    def name_of(self, contract: Contract) -> str:
        """Return our symbol of a contract: that of our orders, else the map's, else its form."""
        symbol = self.order_cache.symbol_of(self.endpoint.connection_id, contract.conId)
        return (
            symbol or self.names.get(contract.conId) or symbol_of(contract, self.endpoint.settings)
        )

    async def close(self) -> None:
        """Close the session for good."""
        self.closed = True
        if self._connection_task is not None:
            self._connection_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._connection_task
        self._drop((Code.NOT_CONNECTED, "closed"))  # also if it was never open
        await self.lines.close()

    # ---- messages of TWS ------------------------------------------------------------------
    def on_error(self, req_id: int, number: int, text: str) -> None:
        """Handle an error that answers no request: of the connection, the session or an order."""
        if "read-only" in text.lower():
            self.read_only = True
            self._wrapper.fail_lists(ReadFailed(Code.TRADING_DISABLED, text))
        if number in codes.LINE_LOST:
            self._ibkr_lost, self._synced = True, False
            self._unusable_reason = (Code.BROKER_UNREACHABLE, f"{number}: {text}")
            self.lines.fail(ReadFailed(*self._unusable_reason))
        elif number in codes.LINE_RESTORED:
            self._ibkr_lost = self._synced = False
            self.stable_since = asyncio.get_running_loop().time()
            self.request_sync()
        elif number in codes.PRICES_PAUSE:
            self.lines.clear_quotes()
        elif number == codes.CLIENT_ID_IN_USE:
            if self._refused is not None and not self._refused.done():
                self._refused.set_exception(ReadFailed(Code.CLIENT_ID_IN_USE, text))
                self._refused.exception()
        elif req_id > 0:
            self._numbers_used |= number == codes.DUPLICATE_NUMBER
            owner = self.endpoint.connection_id, self.endpoint.client_id
            record = self.order_cache.by_number(*owner, req_id)
            if record is not None:
                self._order_events.order_error(record, number, text)
        self.order_cache.wake_all(self.endpoint.connection_id)

    def on_order_number(self, client_id: int, order_id: int) -> None:
        """Give no new order the number of one that there is: TWS would change that one. TWS's own
        count may go back, as when a gateway restarts while orders are on their way to it."""
        if client_id == self.endpoint.client_id and order_id < MAX_NUMBER and self._client:
            self._client.updateReqId(order_id + 1)

    def on_lost(self) -> None:
        """Handle a lost connection. If we closed it ourselves, the reason is set already."""
        if self._client is not None:
            self._drop((Code.NOT_CONNECTED, "the connection was closed"))

    def on_malformed_message(self, raw: str) -> None:
        """Handle a message that cannot be read: it may have been about any order."""
        log.warning("ibkr: invalid message: %r", raw)
        accounts = self._client.managed_accounts if self._client else []
        self.malformed_message = quotable_text(raw, self.endpoint, accounts, self.order_cache)
        self.request_sync()
        self.order_cache.wake_all(self.endpoint.connection_id)

    # ---- the connection -------------------------------------------------------------------
    async def _run(self) -> None:
        """Connect, monitor, and reconnect with a growing, random delay."""
        delay, min_delay = self.timing.first_delay, self.timing.min_retry_delay
        while True:
            if self._attempt is None or self._attempt.done():
                self._attempt = asyncio.get_running_loop().create_future()
            try:
                error = await outcome_of(self._connect_and_monitor(self._attempt))
            except asyncio.CancelledError:  # closed, or the loop ends
                self._drop((Code.NOT_CONNECTED, "closed"))
                raise
            finally:
                was_connected = self._attempt.done()
                if not was_connected:
                    self._attempt.set_result(None)
            if was_connected:
                delay = self.timing.first_delay
            if error is not None:  # of ib_async or ours; the session must go on
                code = error.code if isinstance(error, ReadFailed) else Code.NOT_CONNECTED
                detail = getattr(error, "detail", "") or f"{type(error).__name__} {error}"
                if not self._is_failure_logged:  # once, not at every attempt
                    log.warning("ibkr: %s:%s as client %s: %s", *self.endpoint.address, detail)
                self._is_failure_logged = True
                self._drop((code, f"{self.endpoint.host}:{self.endpoint.port} {detail}"))
                refused = code is Code.CLIENT_ID_IN_USE
                min_delay = self.timing.client_id_delay if refused else self.timing.min_retry_delay
                delay = max(delay, min_delay)
            await self._pause(min_delay, delay * random.uniform(0.75, 1.25))
            delay = min(delay * 2, self.timing.longest_delay)

    async def _connect_and_monitor(self, attempt: asyncio.Future[None]) -> None:
        await self._connect()
        log.info("ibkr: in sync with %s:%s as client %s", *self.endpoint.address)
        self._is_failure_logged = False
        attempt.set_result(None)
        await self._monitor()

    async def _pause(self, min_delay: float, seconds: float) -> None:
        """Wait before the next attempt; only `min_delay` if an order waits to be sent."""
        self._retry_soon.clear()
        await asyncio.sleep(min(min_delay, seconds))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds - min_delay)):
                await self._retry_soon.wait()

    async def _connect(self) -> None:
        self._refused = asyncio.get_running_loop().create_future()
        client = self._client = TwsClient(self._wrapper)
        client.conn.disconnected += self._on_socket_closed
        self._ibkr_lost = False
        async with asyncio.timeout(self.timing.connect):
            await open_connection(client, self.endpoint.address, self._refused, self.rate_limiter)
        client.prepare(self.timing.reply)
        self.stable_since = asyncio.get_running_loop().time()
        for record in self.order_cache.of(self.endpoint.connection_id):
            self.on_order_number(record.client_id, record.order_id)
        now = datetime.now(UTC)
        zone, self.wrong_zone = zone_of(
            self.endpoint.timezone, offset_of(client.greeting, now), now
        )
        self._wrapper.read_times_in(zone)
        if self.endpoint.account not in (accounts := client.getAccounts()):
            others = f"the login has {len(accounts)} others"  # not their numbers: other owners'
            raise ReadFailed(Code.UNKNOWN_ACCOUNT, f"no {self.endpoint.account}; {others}")
        await self._sync()

    def _on_socket_closed(self, message: str) -> None:
        if self._refused is not None and not self._refused.done():
            self._refused.set_exception(ConnectionError(message or "closed at the greeting"))
            self._refused.exception()

    async def _sync(self, depth: Depth = Depth.ENDED) -> None:
        """Read the orders. After it, an order in no list does not exist.

        A read-only API lists no orders and accepts none."""
        self._sync_requested = False
        try:
            await self.snapshot(depth)
            self.read_only = False
            self.order_cache.report_dropped(self.endpoint.connection_id)
        except ReadFailed as error:
            if error.code is not Code.TRADING_DISABLED:
                raise
        if not self._ibkr_lost:
            self._synced = True

    async def _monitor(self) -> None:
        """Sync and ping an open connection until it ends. Raises what ends it."""
        loop = asyncio.get_running_loop()
        synced_at = answered_at = all_synced_at = loop.time()
        ibkr_lost_since: float | None = None
        while True:
            self._wake_up.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timing.ping):  # wait_for of 3.11 can lose a cancel
                    await self._wake_up.wait()
            if not self._open:
                raise ReadFailed(*self._unusable_reason)
            now = loop.time()
            if self._ibkr_lost:
                ibkr_lost_since = ibkr_lost_since or now
                if now - ibkr_lost_since > self.timing.ibkr_lost:
                    raise ReadFailed(*self._unusable_reason)
                continue
            ibkr_lost_since = None
            is_all_due = now - all_synced_at >= self.timing.full_resync
            if self._sync_requested or not self._synced or is_all_due:
                await self._sync()
                synced_at = answered_at = all_synced_at = loop.time()
            elif now - synced_at >= self.timing.resync:
                await self._sync(Depth.OPEN)
                synced_at = answered_at = loop.time()
            elif now - answered_at >= self.timing.ping:
                await self.request(lambda client, _: client.reqCurrentTime(), key=TIME)
                answered_at = loop.time()

    def _drop(self, reason: tuple[Code, str]) -> None:
        """End the connection, mark the session unusable and wake all waiting calls."""
        client, self._client = self._client, None
        self._synced, self._unusable_reason = False, reason
        if client is not None:
            client.cut()
        self._wrapper.fail_all(ReadFailed(*reason))
        self.lines.fail(ReadFailed(*reason))
        self._wake_up.set()
        self.order_cache.wake_all(self.endpoint.connection_id)
