"""ccxt's exchange objects: one per account, made at its first use; accounts share the markets.

ccxt (about 70 MB) is imported at the first call, on a separate thread, since that takes seconds.
Its throttle and its retries are off; numbers stay text.
"""

import asyncio
import importlib
import importlib.util
import logging
import math
from collections.abc import Mapping
from contextlib import nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

from brokers.base import ReadFailed, outcome_of
from brokers.crypto.ccxt_hooks import HookedExchange
from brokers.crypto.ccxt_options import ccxt_options, redirected
from brokers.crypto.entry_prices import KnownEntry
from brokers.crypto.exchange_clock import ExchangeClock
from brokers.crypto.exchanges import Exchange, LevelApi, rules
from brokers.crypto.guarded_call import as_current, priority_read
from brokers.crypto.priority_lock import PriorityLock
from brokers.crypto.rate_limits import AccountRateLimits, LimitsFactory, account_rate_limits
from brokers.crypto.settings import Settings
from brokers.crypto.traded_symbols import TradedSymbols
from brokers.crypto.unread_trades import UnreadTrades
from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.reason_codes import Code

log = logging.getLogger(__name__)
logging.getLogger("ccxt").setLevel(logging.WARNING)  # below it: keys, passphrases, signatures
MARKETS_SECONDS = 3600.0
RENEW_SECONDS = 60.0
MAX_CLIENTS = 500
SURE_SECONDS = 1.0  # a comparison of another task within this time is used
MISSING = (
    "crypto exchanges need the extra `crypto`: pip install --require-hashes -r "
    "requirements-crypto.txt (ccxt>=4.5.90,<5)"
)


@dataclass(slots=True)
class Client:
    """One account at one exchange. markets_at: machine_time() when its markets were loaded; 0.0:
    not yet, and no other request is made before. markets_doubted_at: when the exchange or an order
    last contradicted them."""

    exchange: Any  # ccxt's object
    rules: Exchange
    settings: Settings
    rate_limits: AccountRateLimits
    clock: ExchangeClock
    markets_at: float = 0.0
    markets_doubted_at: float = -math.inf
    missed_at: float = -math.inf  # when a symbol was last missing among them
    is_renewing: bool = False
    identity: str | None = None  # see account_identity.py; None: not read yet
    unavailable_until: float = 0.0  # machine_time() until which the identity is not requested
    unread: UnreadTrades | None = None  # executions of which a part was read; see unread_trades.py
    traded: TradedSymbols = field(default_factory=TradedSymbols)
    entries: dict[str, KnownEntry] = field(default_factory=dict)  # of spot positions, by symbol
    margin_right_until: dict[str, float] = field(default_factory=dict)  # by symbol
    held_modes: dict[str, str] | None = None  # margin modes by symbol; see `exit_mode`
    connection_id: str = ""
    missing_since: dict[str, float] = field(default_factory=dict)  # by symbol that is not listed
    last_prices: dict[str, Decimal] = field(default_factory=dict)  # of what is held on spot
    warnings: set[str] = field(default_factory=set)  # what was logged, which each read would repeat

    @property
    def is_fresh(self) -> bool:
        """Whether its markets are there, and not older than an hour."""
        return bool(self.markets_at) and machine_time() - self.markets_at < MARKETS_SECONDS

    def exit_mode(self, symbol: str) -> str | None:
        """Return the margin mode that an exit names: that of the position, as it was last read, and
        else that of entries; None where orders name none (all but OKX's perpetuals)."""
        of_entries: str | None = self.exchange.options.get("defaultMarginMode")
        return of_entries and (self.held_modes or {}).get(symbol, of_entries)

    @property
    def level_api(self) -> LevelApi | None:
        """How stops and targets of positions rest at the exchange; None: none does."""
        return self.rules.levels.get(self.settings.market)

    def market(self, symbol: str) -> Mapping[str, Any]:
        """Return ccxt's market of a symbol. Raises ReadFailed UNKNOWN_SYMBOL_AT_BROKER if none is
        loaded; then they are loaded again, at most once a minute: it may be newer than they are."""
        found: Mapping[str, Any] | None = self.exchange.markets.get(symbol)
        if found is not None:
            return found
        self.look_again()
        raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, f"the exchange does not list {symbol}")

    def look_again(self) -> None:
        """Have the markets loaded again, at most once a minute: a symbol may be newer than they
        are."""
        if machine_time() - self.missed_at > RENEW_SECONDS:
            self.missed_at = machine_time()
            self.doubt_markets()

    @property
    def is_doubted(self) -> bool:
        """Whether its markets were contradicted and have not been loaded since."""
        return self.markets_at < self.markets_doubted_at

    def doubt_markets(self, *, unless_since: float = 0.0) -> None:
        """Have the markets loaded again: the exchange contradicts them, or may by now.

        unless_since: seconds; markets that are not older are believed.
        """
        if not self.is_doubted and machine_time() - self.markets_at > unless_since:
            self.markets_doubted_at = machine_time()
            self.markets_at = self.markets_doubted_at - MARKETS_SECONDS

    def warn_once(self, sentence: str) -> None:
        """Log a warning that each read would repeat."""
        if sentence not in self.warnings:
            self.warnings.add(sentence)
            log.warning("%s: %s", self.rules.name, sentence)


@dataclass(slots=True)
class _LoopState:
    """The state of one event loop."""

    session: Any
    tls_context: Any  # see http_session.py
    clients: dict[tuple[Any, ...], Client] = field(default_factory=dict)
    renewing: set[asyncio.Task[None]] = field(default_factory=set)
    clocks: dict[tuple[str, str, bool], ExchangeClock] = field(default_factory=dict)
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)  # one per exchange


class ClientPool:
    """All accounts of this process. base_urls: other base addresses by exchange name, for tests.
    make_rate_limits: returns the rate limits of an account."""

    def __init__(
        self,
        base_urls: Mapping[str, str] | None = None,
        make_rate_limits: LimitsFactory = account_rate_limits,
    ) -> None:
        self._base_urls, self._make_rate_limits = base_urls or {}, make_rate_limits
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()

    async def get(self, spec: ConnectionSpec, *, urgent: bool = False) -> Client:
        """Return the client of an account, with its markets. urgent: an exit or a cancel waits.
        Raises ReadFailed (LIBRARY_MISSING without ccxt), and ccxt's own errors where the exchange
        does not answer."""
        state = await self._loop_state()
        settings = Settings.of(spec)
        key = (spec.connection_id, spec.exchange_name, settings, *sorted(spec.credentials.items()))
        client = state.clients.pop(key, None)
        if client is None:
            client = self._make(state, spec, settings)
            if len(state.clients) >= MAX_CLIENTS:
                state.clients.pop(next(iter(state.clients)))  # the least recently used
        state.clients[key] = client
        if not client.markets_at:
            async with state.locks.setdefault(spec.exchange_name, asyncio.Lock()):
                if not client.markets_at:
                    client.markets_at = await _load_markets(state, client)
        elif not (client.is_fresh or client.is_renewing):
            client.is_renewing = True
            # In the background: not as a part of the call that found them old.
            task = asyncio.create_task(_renew(state, client), context=Context())
            state.renewing.add(task)
            task.add_done_callback(state.renewing.discard)
        if not client.clock.is_sure:
            await self._compare(client, urgent)
        return client

    async def renew(self, client: Client) -> None:
        """Load the markets again if they are doubted, or wait for who does. Raises ccxt's errors.

        Accounts that doubt them at the same time load them once.
        """
        state = await self._loop_state()
        async with state.locks.setdefault(client.rules.name, asyncio.Lock()):
            if client.is_doubted:
                client.markets_at = await _load_markets(state, client)

    @staticmethod
    async def _compare(client: Client, urgent: bool) -> None:
        with as_current(priority_read()) if urgent else nullcontext():
            await client.clock.compare(client.exchange, max_age=SURE_SECONDS)

    async def close(self, spec: ConnectionSpec | None = None) -> None:
        """Forget one account, or close this loop's connections; the next call opens them again."""
        loop = asyncio.get_running_loop()
        if spec is not None and loop in self._loops:
            clients = self._loops[loop].clients
            for key in [key for key in clients if key[0] == spec.connection_id]:
                del clients[key]
        if spec is not None:
            return
        state = self._loops.pop(loop, None)
        if state is not None:
            await state.session.close()

    async def _loop_state(self) -> _LoopState:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            if importlib.util.find_spec("ccxt") is None:
                raise ReadFailed(Code.LIBRARY_MISSING, MISSING)
            http_session = await asyncio.to_thread(
                importlib.import_module, "brokers.crypto.http_session"
            )
            await asyncio.to_thread(importlib.import_module, "ccxt.async_support")
            if loop not in self._loops:  # no other task was first
                self._loops[loop] = _LoopState(http_session.session(), http_session.tls_context())
        return self._loops[loop]

    def _make(self, state: _LoopState, spec: ConnectionSpec, settings: Settings) -> Client:
        exchange_rules = rules(spec.exchange_name)
        name = exchange_rules.name
        library_class = getattr(importlib.import_module("ccxt.async_support"), name, None)
        if name not in importlib.import_module("ccxt").exchanges or library_class is None:
            raise ReadFailed(Code.FIELD_INVALID, f"ccxt knows no exchange {name!r}")
        if settings.market == "swap" and not exchange_rules.swap:
            raise ReadFailed(Code.FIELD_INVALID, f"{name} has spot only: set market to spot")
        exchange_class = type(name, (HookedExchange, library_class), {})
        exchange = self._open_exchange(exchange_class, state, spec, settings)
        clock = state.clocks.setdefault((name, settings.market, settings.sandbox), ExchangeClock())
        exchange.rate_limits, exchange.clock = self._make_rate_limits(exchange_rules, spec), clock
        exchange.lock = PriorityLock() if exchange_rules.one_at_a_time else None
        return Client(
            exchange, exchange_rules, settings, exchange.rate_limits, clock,
            connection_id=spec.connection_id,
        )  # fmt: skip

    def open_stream(self, client: Client, spec: ConnectionSpec) -> Any:
        """Return ccxt's object for one connection by websocket, with the limits, clock and markets
        of the account's client. Each connection has its own: what a lost one leaves in ccxt's
        (listen keys, subscriptions) does not reach the next. Nothing is sent yet."""
        websockets = importlib.import_module("brokers.crypto.websockets")
        exchange = self._open_exchange(
            websockets.stream_class(client.rules.name),
            self._loops[asyncio.get_running_loop()], spec, client.settings,
        )  # fmt: skip
        exchange.options = exchange.deep_extend(exchange.options, client.rules.stream_options)
        exchange.rate_limits, exchange.clock = client.rate_limits, client.clock
        exchange.lock = client.exchange.lock
        exchange.set_markets_from_exchange(client.exchange)
        return exchange

    def _open_exchange(
        self, exchange_class: Any, state: _LoopState, spec: ConnectionSpec, settings: Settings
    ) -> Any:
        exchange_rules = rules(spec.exchange_name)
        name = exchange_rules.name
        exchange = exchange_class(
            {
                "apiKey": spec.credentials.get("api_key", ""),
                "secret": spec.credentials.get("secret", ""),
                "password": spec.credentials.get("password", ""),
                "enableRateLimit": False,
                "number": str,
                "timeout": int(settings.reply_timeout * 1000),
                "session": state.session,
                "ssl_context": state.tls_context,  # else each account loads the certificates
                "asyncio_loop": asyncio.get_running_loop(),
                "options": {**ccxt_options(exchange_rules, settings), **exchange_rules.options},
            }
        )
        # fetchCurrencies needs permissions beyond trading.
        exchange.has = {**exchange.has, "fetchCurrencies": False}
        if settings.sandbox:
            if not exchange.urls.get("test"):
                raise ReadFailed(Code.FIELD_INVALID, f"{name} has no sandbox")
            if exchange_rules.demo:
                exchange.enable_demo_trading(True)
            else:
                exchange.set_sandbox_mode(True)
        if base_url := self._base_urls.get(name):
            exchange.urls["api"] = redirected(exchange.urls["api"], base_url)
        return exchange


async def _load_markets(state: _LoopState, client: Client) -> float:
    """Load the markets, or share another account's; return machine_time() when that began.

    The markets of one exchange are tens of megabytes and take a second to load."""
    exchange, settings, begin = client.exchange, client.settings, machine_time()
    for other in state.clients.values():
        other_settings = other.settings
        is_same_market = other_settings.market == settings.market
        is_newer = other.markets_at > client.markets_doubted_at
        same = is_same_market and is_newer and other_settings.sandbox == settings.sandbox
        if same and other.is_fresh and other.rules.name == client.rules.name:
            exchange.set_markets_from_exchange(other.exchange)
            return other.markets_at
    await exchange.load_markets(True)
    return begin


async def _renew(state: _LoopState, client: Client) -> None:
    """Reload markets that are an hour old, once for all accounts of an exchange. The old ones are
    used until then, and for a minute after a failure."""
    lock = state.locks.setdefault(client.rules.name, asyncio.Lock())

    async def load() -> float:
        async with asyncio.timeout(RENEW_SECONDS), lock:
            return await _load_markets(state, client)

    try:
        markets_at = await outcome_of(load())
        if isinstance(markets_at, Exception):
            reason = type(markets_at).__name__
            log.warning("markets of %s are not renewed: %s", client.rules.name, reason)
            markets_at = machine_time() - MARKETS_SECONDS + RENEW_SECONDS
        client.markets_at = markets_at
    finally:
        client.is_renewing = False
