"""The terminal of this process: its login, its lists and its clock.

Everything here runs on the terminal's own thread (`terminal_thread.py`). Each call logs in as the
connection's account first and checks the account again afterwards: a person at the terminal may log
in to another one.
"""

import logging
import ntpath
from collections.abc import Callable
from time import monotonic
from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.mt5 import codes
from brokers.mt5.client import PackageClient
from brokers.mt5.lots import Lots, UnlistedSymbolError
from brokers.mt5.order_ids import OrderIds
from brokers.mt5.own_terminal import MAIN, TerminalEndpoint
from brokers.mt5.parse import mode_of
from brokers.mt5.server_time import ServerTime, read_zone
from brokers.mt5.verified_logins import (
    TerminalUnavailableError,
    VerifiedLogins,
    login_of,
    server_of,
)
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import ConnectionSpec, PositionMode
from common.reason_codes import Code

log = logging.getLogger(__name__)
# Time-out of `initialize` and `login`, below that of a read. A later call finds a terminal that
# takes longer to start.
START_MS = 15_000
CLOCK_SECONDS = 5.0  # between two samples of a clock with a known zone
LIST_SECONDS = 600  # how long a symbol's data stay in the cache


class Terminal:
    """One terminal and the accounts that take turns in it. api: the package's functions."""

    def __init__(
        self,
        library: PackageClient,
        endpoint: TerminalEndpoint,
        record_cache: RecordCache = RECORD_CACHE,
    ) -> None:
        self.api, self._endpoint = library, endpoint
        self.order_ids = OrderIds(record_cache)
        self.modes: dict[str, PositionMode] = {}  # as read from the terminal, by connection
        self._times: dict[tuple[str, str], ServerTime] = {}
        self._symbols: dict[tuple[int, str], tuple[float, Lots]] = {}
        self.fillings: dict[tuple[int, str, str, str], int] = {}  # what servers took, not the usual
        self._unlisted: set[tuple[int, str]] = set()  # that the log has
        self._connected_since: tuple[int, float] | None = None
        self._verified_logins = VerifiedLogins()

    # ---- login ----------------------------------------------------------------------------
    def ensure_account(self, spec: ConnectionSpec) -> Any:
        """Log in as the connection's account if necessary, and return its `account_info`.

        Raises TerminalUnavailableError, also without a connection to the server: the terminal would
        then answer from its cache.
        """
        login, name = login_of(spec), terminal_of(spec)
        if name != self._endpoint.name:
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, f"it is served by the worker of {name}"
            )
        digest = self._verified_logins.digest_of(spec, login)
        account_info = self.api.account_info()
        if account_info is None:
            self._connected_since = None
            self._start(spec, login, digest)
            account_info = self.api.account_info()
        terminal = self._require_own_terminal()
        if account_info is not None and not (
            is_account(account_info, spec, login) and self._verified_logins.is_accepted(digest)
        ):
            self._connected_since = None
            self._log_in(spec, login, digest)
            account_info, terminal = self.api.account_info(), self.api.terminal_info()
        if account_info is None or not is_account(account_info, spec, login):
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, f"account {login} is not logged in"
            )
        if terminal is None or not terminal.connected:
            self._connected_since = None
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, "the terminal has no connection to its server"
            )
        if self._connected_since is None or self._connected_since[0] != login:
            self._connected_since = login, monotonic()
        self.modes[spec.connection_id] = mode_of(account_info)
        return account_info

    def require_account(self, spec: ConnectionSpec) -> None:
        """Raise TerminalUnavailableError unless the terminal is still logged in as the connection's
        account, and connected."""
        account_info, terminal = self.api.account_info(), self.api.terminal_info()
        if account_info is None or not is_account(account_info, spec, login_of(spec)):
            self._connected_since = None
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, "the terminal was logged in to another account meanwhile"
            )
        if terminal is None or not terminal.connected:
            self._connected_since = None
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, "the terminal lost its server meanwhile"
            )

    def connected_seconds(self) -> float:
        """Return for how long the terminal has had this account and its server without a break:
        after a login it still loads its history."""
        return monotonic() - self._connected_since[1] if self._connected_since else 0.0

    def close(self) -> None:
        """Disconnect the package from the terminal."""
        self._connected_since = None
        self.api.shutdown()

    def _require_own_terminal(self) -> Any:
        """Return the terminal's state. Raises TerminalUnavailableError if it is another worker's.

        Users report that the package may find another terminal if several run for one Windows user;
        so we check before any call that changes something."""
        terminal, path = self.api.terminal_info(), self._endpoint.path
        if path and terminal is not None and _folder(path) != ntpath.normcase(terminal.path):
            self.close()
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, f"this is the terminal at {terminal.path}"
            )
        return terminal

    def _start(self, spec: ConnectionSpec, login: int, digest: bytes) -> None:
        path = (self._endpoint.path,) if self._endpoint.path else ()
        arguments = {
            "portable": self._endpoint.portable, "login": login, **_connect_arguments(spec)
        }  # fmt: skip
        result = self.api.initialize(*path, timeout=START_MS, **arguments)
        self._record_login_result("initialize", digest, is_success=bool(result))

    def _log_in(self, spec: ConnectionSpec, login: int, digest: bytes) -> None:
        result = self.api.login(login, timeout=START_MS, **_connect_arguments(spec))
        self._record_login_result("login", digest, is_success=bool(result))

    def _record_login_result(self, what: str, digest: bytes, *, is_success: bool) -> None:
        if is_success:
            self._verified_logins.accept(digest)
            return
        error = self.api.last_error()
        code = codes.login_verdict(error)
        if code is Code.CREDENTIALS_REFUSED:
            self._verified_logins.refuse(digest)
        raise TerminalUnavailableError(code, f"{what}: {error[0]} {error[1]}")

    # ---- reads ----------------------------------------------------------------------------
    def rows(
        self, function: Callable[..., Any], *args: Any, count: Callable[[], Any], **kwargs: Any
    ) -> list[Any]:
        """Read a list. Raises ReadFailed.

        The package returns None for a failure; some builds also return it for an empty list. That
        is accepted only if there was no error and the count is 0 too.
        """
        found = function(*args, **kwargs)
        if found is not None:
            return list(found)
        error = self.api.last_error()
        if codes.is_success(error) and count() == 0:
            return []
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"{error[0]} {error[1]}")

    def orders(self) -> list[Any]:
        """Return all open orders. Raises ReadFailed."""
        return self.rows(self.api.orders_get, count=self.api.orders_total)

    def positions(self) -> list[Any]:
        """Return all open positions. Raises ReadFailed."""
        return self.rows(self.api.positions_get, count=self.api.positions_total)

    def past_orders(self, begin: int, end: int) -> list[Any]:
        """Return the ended orders of a period. begin, end: server time. Raises ReadFailed."""
        count = lambda: self.api.history_orders_total(begin, end)  # noqa: E731
        return self.rows(self.api.history_orders_get, begin, end, count=count)

    def deals(self, begin: int, end: int) -> list[Any]:
        """Return the deals of a period. begin, end: server time. Raises ReadFailed."""
        count = lambda: self.api.history_deals_total(begin, end)  # noqa: E731
        return self.rows(self.api.history_deals_get, begin, end, count=count)

    def has_history(self, end: int) -> bool:
        """Whether the terminal has any deal of its account. end: server time. What an account has
        was put in by one, so a terminal without any has not loaded its history."""
        account_info = self.api.account_info()
        has_money = account_info is not None and account_info.balance
        return not has_money or bool(self.api.history_deals_total(0, end))

    def deals_of(self, **of: int) -> list[Any]:
        """Return the deals of an order (ticket=) or a position (position=). Raises ReadFailed."""
        return self.rows(self.api.history_deals_get, count=lambda: 0, **of)

    def lots(self, account_info: Any, symbol: str) -> Lots:
        """Return a symbol's units and limits; the last known ones while the terminal has no data.

        Raises Rejected if it does not exist, UnlistedSymbolError without any size, ReadFailed."""
        key = account_info.login, symbol
        cached = self._symbols.get(key)
        if cached is not None and monotonic() - cached[0] < LIST_SECONDS:
            return cached[1]
        found = self.api.symbol_info(symbol)
        if found is None:
            error = self.api.last_error()
            if codes.is_not_found(error):
                raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, symbol)
            raise ReadFailed(Code.BROKER_UNREACHABLE, f"{symbol}: {error[0]} {error[1]}")
        if not found.visible:
            self.api.symbol_select(symbol, True)  # without it there are no prices
        lots = Lots(found)
        if not lots.states_size:
            if cached is not None:
                return cached[1]
            detail = f"the terminal has no data of {symbol} yet"
            raise UnlistedSymbolError(Code.BROKER_UNREACHABLE, detail)
        self._symbols[key] = monotonic(), lots
        return lots

    def drop_symbol(self, account_info: Any, symbol: str) -> None:
        """Read the symbol again next time: the server has rejected what its data allow."""
        self._symbols.pop((account_info.login, symbol), None)

    def lots_reader(self, account_info: Any) -> Callable[[str], Lots]:
        """Return a function that returns a symbol's units and limits. Of one that the broker no
        longer lists it returns the last known ones; without any it raises UnlistedSymbolError. It
        raises ReadFailed."""

        def lots_of(symbol: str) -> Lots:
            try:
                return self.lots(account_info, symbol)
            except Rejected as error:
                if (key := (account_info.login, symbol)) not in self._unlisted:
                    self._unlisted.add(key)
                    log.warning("mt5: account %s: the broker no longer lists %s", *key)
                if key in self._symbols:
                    return self._symbols[key][1]
                detail = f"no symbol {symbol}"
                raise UnlistedSymbolError(Code.BROKER_UNREACHABLE, detail) from error

        return lots_of

    # ---- its clock ------------------------------------------------------------------------
    def time(self, spec: ConnectionSpec, account_info: Any) -> ServerTime:
        """Return the clock of the account's server. Raises TerminalUnavailableError for an invalid
        `server_timezone`."""
        configured = str(spec.settings.get("server_timezone") or "")
        key = account_info.server, configured
        if key not in self._times:
            try:
                self._times[key] = ServerTime(read_zone(configured) if configured else None)
            except ValueError as error:
                raise TerminalUnavailableError(
                    Code.FIELD_INVALID, f"server_timezone: {error}"
                ) from error
        return self._times[key]

    def tick(self, time: ServerTime, symbol: str) -> Any:
        """Return the latest tick, or None. It also samples the server's clock."""
        tick = self.api.symbol_info_tick(symbol)
        if tick is None and self.api.symbol_select(symbol, True):  # it was removed from the list
            tick = self.api.symbol_info_tick(symbol)
        if tick is not None and tick.time_msc:
            time.record(symbol, tick.time_msc)
        return tick

    def sample_clock(
        self, spec: ConnectionSpec, account_info: Any, every: float = CLOCK_SECONDS
    ) -> ServerTime:
        """Sample the server's clock by some recently used symbols, and return it.

        every: minimum seconds between two samples, once the zone is known."""
        time = self.time(spec, account_info)
        if time.zone is not None and monotonic() - time.sampled_at < every:
            return time
        time.sampled_at = monotonic()
        symbols = [symbol for login, symbol in self._symbols if login == account_info.login][-5:]
        if configured := spec.settings.get("clock_symbol"):
            symbols.append(str(configured))
        for symbol in symbols:
            self.tick(time, symbol)
        return time


def terminal_of(spec: ConnectionSpec) -> str:
    """Return the name of the terminal that serves an account."""
    return str(spec.settings.get("terminal") or MAIN).lower()


def _folder(path: str) -> str:
    return ntpath.normcase(ntpath.dirname(path))


def is_account(account_info: Any, spec: ConnectionSpec, login: int) -> bool:
    """Whether it is the connection's account: numbers are unique only within a server."""
    server = server_of(spec)
    return bool(
        account_info.login == login
        and (not server or account_info.server.lower() == server.lower())
    )


def _connect_arguments(spec: ConnectionSpec) -> dict[str, str]:
    configured = {"password": spec.credentials["password"], "server": server_of(spec)}
    return {name: value for name, value in configured.items() if value}
