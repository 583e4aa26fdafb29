"""ccxt's exchange objects: one an account, made when first needed, markets shared between them.

ccxt (about 70 MB) is imported here at the first call, on a thread of its own, since that takes
seconds. Its throttle and its retries are off; numbers stay text.
"""

import asyncio
import importlib
import importlib.util
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from brokers.base import ReadFailed
from brokers.crypto.ccxt_hooks import HookedExchange
from brokers.crypto.exchange_clock import ExchangeClock
from brokers.crypto.exchanges import Exchange, rules
from brokers.crypto.guarded_call import as_current, priority_read
from brokers.crypto.priority_lock import PriorityLock
from brokers.crypto.rate_limits import AccountRateLimits, LimitsFactory, account_rate_limits
from brokers.crypto.settings import Settings
from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.reason_codes import Code

log = logging.getLogger(__name__)
logging.getLogger("ccxt").setLevel(logging.WARNING)  # below it: keys, passphrases, signatures
MARKETS_SECONDS = 3600.0
RENEW_SECONDS = 60.0
MAX_CLIENTS = 500
SURE_SECONDS = 1.0  # who waited for another's comparison need not ask again
MISSING = (
    "crypto exchanges need the extra `crypto`: pip install --require-hashes -r "
    "requirements-crypto.txt (ccxt>=4.5.90,<5)"
)


@dataclass(slots=True)
class Client:
    """One account at one exchange. markets_at: machine_time() when its markets were loaded; 0.0:
    nothing is asked before they are."""

    exchange: Any  # ccxt's object
    rules: Exchange
    settings: Settings
    budgets: AccountRateLimits
    clock: ExchangeClock
    markets_at: float = 0.0
    is_renewing: bool = False
    identity: str | None = None  # see account_identity.py; None: not asked yet
    unavailable_until: float = (
        0.0  # machine_time(); its key may not say whose it is, and is not asked
    )

    @property
    def is_fresh(self) -> bool:
        """Whether its markets are there, and not older than an hour."""
        return bool(self.markets_at) and machine_time() - self.markets_at < MARKETS_SECONDS

    def market(self, symbol: str) -> Mapping[str, Any]:
        """Return ccxt's market of a listed symbol. Raises KeyError."""
        found: Mapping[str, Any] = self.exchange.markets[symbol]
        return found


@dataclass(slots=True)
class _LoopState:
    """What belongs to one event loop."""

    session: Any
    trusted: Any  # the certificates: see http_session.py
    clients: dict[tuple[Any, ...], Client] = field(default_factory=dict)
    renewing: set[asyncio.Task[None]] = field(default_factory=set)
    clocks: dict[tuple[str, str, bool], ExchangeClock] = field(default_factory=dict)
    making: dict[str, asyncio.Lock] = field(default_factory=dict)  # one exchange delays no other


class ClientPool:
    """All accounts of this process. at: where an exchange is reached instead (tests): the base
    address by exchange name. budgets: makes an account's."""

    def __init__(
        self,
        at: Mapping[str, str] | None = None,
        budgets: LimitsFactory = account_rate_limits,
    ) -> None:
        self._at, self._budgets = at or {}, budgets
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()

    async def of(self, spec: ConnectionSpec, *, urgent: bool = False) -> Client:
        """Return the client of an account, its markets loaded. urgent: an exit or a cancel waits.
        Raises ReadFailed (LIBRARY_MISSING without ccxt), and ccxt's own errors where the exchange
        does not answer."""
        home = await self._home()
        settings = Settings.of(spec)
        key = (spec.connection_id, spec.exchange_name, settings, *sorted(spec.credentials.items()))
        client = home.clients.pop(key, None)
        if client is None:
            client = self._make(home, spec, settings)
            if len(home.clients) >= MAX_CLIENTS:
                home.clients.pop(next(iter(home.clients)))  # the one unused for longest
        home.clients[key] = client
        if not client.markets_at:
            async with home.making.setdefault(spec.exchange_name, asyncio.Lock()):
                if not client.markets_at:
                    client.markets_at = await _load_markets(home, client)
        elif not (client.is_fresh or client.is_renewing):
            client.is_renewing = True
            task = asyncio.create_task(_renew(home, client))  # no order waits for it
            home.renewing.add(task)
            task.add_done_callback(home.renewing.discard)
        if not client.clock.is_sure:
            await self._compare(client, urgent)
        return client

    @staticmethod
    async def _compare(client: Client, urgent: bool) -> None:
        with as_current(priority_read()) if urgent else nullcontext():
            await client.clock.compare(client.exchange, older=SURE_SECONDS)

    async def close(self, spec: ConnectionSpec | None = None) -> None:
        """Forget one account, or end this loop's connections; the next call opens them again."""
        loop = asyncio.get_running_loop()
        if spec is not None and loop in self._loops:
            clients = self._loops[loop].clients
            for key in [key for key in clients if key[0] == spec.connection_id]:
                del clients[key]
        if spec is not None:
            return
        home = self._loops.pop(loop, None)
        if home is not None:
            await home.session.close()

    async def _home(self) -> _LoopState:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            if importlib.util.find_spec("ccxt") is None:
                raise ReadFailed(Code.LIBRARY_MISSING, MISSING)
            line = await asyncio.to_thread(importlib.import_module, "brokers.crypto.http_session")
            await asyncio.to_thread(importlib.import_module, "ccxt.async_support")
            if loop not in self._loops:  # no other task was first
                self._loops[loop] = _LoopState(line.session(), line.trusted())
        return self._loops[loop]

    def _make(self, home: _LoopState, spec: ConnectionSpec, settings: Settings) -> Client:
        known = rules(spec.exchange_name)
        base = getattr(importlib.import_module("ccxt.async_support"), known.name, None)
        if known.name not in importlib.import_module("ccxt").exchanges or base is None:
            raise ReadFailed(Code.FIELD_INVALID, f"ccxt knows no exchange {known.name!r}")
        if settings.market == "swap" and not known.swap:
            raise ReadFailed(Code.FIELD_INVALID, f"{known.name} has spot only: set market to spot")
        kind = type(known.name, (HookedExchange, base), {})
        exchange = kind(
            {
                "apiKey": spec.credentials.get("api_key", ""),
                "secret": spec.credentials.get("secret", ""),
                "password": spec.credentials.get("password", ""),
                "enableRateLimit": False,
                "number": str,
                "timeout": int(settings.reply_timeout * 1000),
                "session": home.session,
                "ssl_context": home.trusted,  # else each account reads the certificates again
                "asyncio_loop": asyncio.get_running_loop(),
                "options": {**_options(known, settings), **known.options},
            }
        )
        exchange.has = {**exchange.has, "fetchCurrencies": False}  # needs rights beyond trading
        if settings.sandbox:
            if not exchange.urls.get("test"):
                raise ReadFailed(Code.FIELD_INVALID, f"{known.name} has no sandbox")
            exchange.enable_demo_trading(True) if known.demo else exchange.set_sandbox_mode(True)
        if base_url := self._at.get(known.name):
            exchange.urls["api"] = _redirected(exchange.urls["api"], base_url)
        clock = home.clocks.setdefault(
            (known.name, settings.market, settings.sandbox), ExchangeClock()
        )
        exchange.budgets, exchange.clock = self._budgets(known, spec), clock
        exchange.lock = PriorityLock() if known.one_at_a_time else None
        return Client(exchange, known, settings, exchange.budgets, clock)


async def _load_markets(home: _LoopState, client: Client) -> float:
    """Load the markets, or share another account's: one exchange's are tens of megabytes, and a
    second of work. Return when they were loaded."""
    exchange, mine = client.exchange, client.settings
    for other in home.clients.values():
        theirs = other.settings
        same = (theirs.market, theirs.sandbox) == (mine.market, mine.sandbox)
        if same and other.is_fresh and other.rules.name == client.rules.name:
            exchange.set_markets_from_exchange(other.exchange)
            return other.markets_at
    await exchange.load_markets(True)
    return machine_time()


async def _renew(home: _LoopState, client: Client) -> None:
    """Reload markets that are an hour old, once for all accounts of an exchange. The old ones are
    used until then, and for a while after a failure."""
    making = home.making.setdefault(client.rules.name, asyncio.Lock())
    try:
        async with asyncio.timeout(RENEW_SECONDS):
            async with making:
                client.markets_at = await _load_markets(home, client)
    except Exception as error:
        log.warning("markets of %s are not renewed: %s", client.rules.name, type(error).__name__)
        client.markets_at = machine_time() - MARKETS_SECONDS + RENEW_SECONDS
    finally:
        client.is_renewing = False


def _options(known: Exchange, settings: Settings) -> dict[str, Any]:
    """ccxt's options. Only the kind of market that is asked for is loaded."""
    types = ["linear"] if settings.market == "swap" else ["spot"]
    if known.name == "okx":  # which names them by `instType`
        types = [settings.market]
    swap = {"defaultSubType": "linear"} if settings.market == "swap" else {}
    return {
        **swap,
        "defaultType": settings.market,
        "defaultSettle": settings.currency,
        "adjustForTimeDifference": False,  # asked for by us: see exchange_clock.py
        "maxRetriesOnFailure": 0,
        "fetchMarkets": {"types": types},
    }


def _redirected(urls: Any, base: str) -> Any:
    """Every address of an exchange, at another host with the same path."""
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    path = str(urls).partition("://")[2].partition("/")[2]
    return f"{base}/{path}" if path else base
