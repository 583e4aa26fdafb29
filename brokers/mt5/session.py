"""The terminal of this process: who is logged in, what it lists, what it answers.

Everything here runs on the terminal's own thread (`terminal_thread.py`). Before a call the account
is made the connection's, after it it is looked at again: a person at the terminal may log in as
somebody else.
"""

import ntpath
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.mt5 import codes
from brokers.mt5.client import PackageClient
from brokers.mt5.lots import Lots
from brokers.mt5.order_ids import OrderIds
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

# How long `initialize` and `login` may take: less than a read may. A terminal that starts more
# slowly is found by a later call.
START_MS = 15_000
CLOCK_SECONDS = 5.0  # between two looks at a clock whose zone is known
LIST_SECONDS = 600  # how long a symbol's steps are believed


MAIN = "main"  # the terminal of an installation that has one


@dataclass(frozen=True, slots=True)
class TerminalEndpoint:
    """This process's terminal: the operator's setting. path: its terminal64.exe; name: by which
    connections ask for it."""

    path: str = ""
    portable: bool = False
    name: str = MAIN


class Terminal:
    """One terminal and the accounts that take turns in it. mt: the package's functions."""

    def __init__(
        self,
        library: PackageClient,
        endpoint: TerminalEndpoint,
        record_cache: RecordCache = RECORD_CACHE,
    ) -> None:
        self.mt, self._endpoint = library, endpoint
        self.names = OrderIds(record_cache)
        self.modes: dict[str, PositionMode] = {}  # as seen, by connection
        self._times: dict[tuple[str, str], ServerTime] = {}
        self._symbols: dict[tuple[int, str], tuple[float, Lots]] = {}
        self._steady: tuple[int, float] | None = None
        self._verified_logins = VerifiedLogins()

    # ---- who is logged in -----------------------------------------------------------------
    def enter(self, spec: ConnectionSpec) -> Any:
        """Log in as the connection's account if need be and return its `account_info`. Raises Away.

        The terminal may be without its server: then it answers from memory, and that is no answer.
        """
        login, name = login_of(spec), terminal_of(spec)
        if name != self._endpoint.name:
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, f"it is served by the worker of {name}"
            )
        proof = self._verified_logins.of(spec, login)
        info = self.mt.account_info()
        if info is None:
            self._steady = None
            self._start(spec, login, proof)
            info = self.mt.account_info()
        terminal = self._be_ours()
        if info is not None and not (
            is_account(info, spec, login) and self._verified_logins.has(proof)
        ):
            self._steady = None
            self._log_in(spec, login, proof)
            info, terminal = self.mt.account_info(), self.mt.terminal_info()
        if info is None or not is_account(info, spec, login):
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, f"account {login} is not logged in"
            )
        if terminal is None or not terminal.connected:
            self._steady = None
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, "the terminal has no connection to its server"
            )
        if self._steady is None or self._steady[0] != login:
            self._steady = login, monotonic()
        self.modes[spec.connection_id] = mode_of(info)
        return info

    def still(self, spec: ConnectionSpec) -> None:
        """Raise Away if the terminal is not (any more) the connection's account, and connected."""
        info, terminal = self.mt.account_info(), self.mt.terminal_info()
        if info is None or not is_account(info, spec, login_of(spec)):
            self._steady = None
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, "somebody else was logged in meanwhile"
            )
        if terminal is None or not terminal.connected:
            self._steady = None
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, "the terminal lost its server meanwhile"
            )

    def steady_seconds(self) -> float:
        """How long the terminal has been seen with this account and its server without a break:
        after a login its history is still being fetched."""
        return monotonic() - self._steady[1] if self._steady else 0.0

    def close(self) -> None:
        self._steady = None
        self.mt.shutdown()

    def _be_ours(self) -> Any:
        """Return the terminal's state. Raise Away if the package has found another worker's,
        before anything is done to it: users report that it may where several run for one Windows
        user."""
        terminal, path = self.mt.terminal_info(), self._endpoint.path
        if path and terminal is not None and _folder(path) != ntpath.normcase(terminal.path):
            self.close()
            raise TerminalUnavailableError(
                Code.BROKER_UNREACHABLE, f"this is the terminal at {terminal.path}"
            )
        return terminal

    def _start(self, spec: ConnectionSpec, login: int, proof: bytes) -> None:
        path = (self._endpoint.path,) if self._endpoint.path else ()
        words = {"portable": self._endpoint.portable, "login": login, **_connect_arguments(spec)}
        good = self.mt.initialize(*path, timeout=START_MS, **words)
        self._judge("initialize", proof, is_good=bool(good))

    def _log_in(self, spec: ConnectionSpec, login: int, proof: bytes) -> None:
        good = self.mt.login(login, timeout=START_MS, **_connect_arguments(spec))
        self._judge("login", proof, is_good=bool(good))

    def _judge(self, what: str, proof: bytes, *, is_good: bool) -> None:
        if is_good:
            self._verified_logins.accept(proof)
            return
        error = self.mt.last_error()
        code = codes.login_verdict(error)
        if code is Code.CREDENTIALS_REFUSED:
            self._verified_logins.refuse(proof)
        raise TerminalUnavailableError(code, f"{what}: {error[0]} {error[1]}")

    # ---- what it answers ------------------------------------------------------------------
    def rows(
        self, ask: Callable[..., Any], *arguments: Any, count: Callable[[], Any], **words: Any
    ) -> list[Any]:
        """Read a list. Raises ReadFailed.

        None is how the package says that it failed; some builds say it also where there is nothing,
        which is believed only if there was no error and the count says so too.
        """
        found = ask(*arguments, **words)
        if found is not None:
            return list(found)
        error = self.mt.last_error()
        if codes.is_success(error) and count() == 0:
            return []
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"{error[0]} {error[1]}")

    def orders(self) -> list[Any]:
        return self.rows(self.mt.orders_get, count=self.mt.orders_total)

    def positions(self) -> list[Any]:
        return self.rows(self.mt.positions_get, count=self.mt.positions_total)

    def past_orders(self, begin: int, end: int) -> list[Any]:
        """begin, end: as the server counts."""
        count = lambda: self.mt.history_orders_total(begin, end)  # noqa: E731
        return self.rows(self.mt.history_orders_get, begin, end, count=count)

    def deals(self, begin: int, end: int) -> list[Any]:
        """begin, end: as the server counts."""
        count = lambda: self.mt.history_deals_total(begin, end)  # noqa: E731
        return self.rows(self.mt.history_deals_get, begin, end, count=count)

    def deals_of(self, **of: int) -> list[Any]:
        """The deals of one order (ticket=) or one position (position=)."""
        return self.rows(self.mt.history_deals_get, count=lambda: 0, **of)

    def lots(self, info: Any, symbol: str) -> Lots:
        """How a symbol counts. Raises Rejected if there is none of this name, ReadFailed."""
        key = info.login, symbol
        kept = self._symbols.get(key)
        if kept is not None and monotonic() - kept[0] < LIST_SECONDS:
            return kept[1]
        found = self.mt.symbol_info(symbol)
        if found is None:
            error = self.mt.last_error()
            if codes.is_not_found(error):
                raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, symbol)
            raise ReadFailed(Code.BROKER_UNREACHABLE, f"{symbol}: {error[0]} {error[1]}")
        if not found.visible:
            self.mt.symbol_select(symbol, True)  # without it there are no prices
        lots = Lots(found)
        self._symbols[key] = monotonic(), lots
        return lots

    def forget_symbol(self, info: Any, symbol: str) -> None:
        """Read its steps anew next time: the server has refused what they allow."""
        self._symbols.pop((info.login, symbol), None)

    def contracts(self, info: Any) -> Callable[[str], Lots]:
        """Return how symbols count, for what is read. Raises ReadFailed."""

        def of(symbol: str) -> Lots:
            try:
                return self.lots(info, symbol)
            except Rejected as error:  # it holds what it does not list: nothing can be told of it
                raise ReadFailed(Code.BROKER_UNREACHABLE, f"no symbol {symbol}") from error

        return of

    # ---- its clock ------------------------------------------------------------------------
    def time(self, spec: ConnectionSpec, info: Any) -> ServerTime:
        """The clock of the account's server. Raises Away for a zone that nobody can read."""
        configured = str(spec.settings.get("server_timezone") or "")
        key = info.server, configured
        if key not in self._times:
            try:
                self._times[key] = ServerTime(read_zone(configured) if configured else None)
            except ValueError as error:
                raise TerminalUnavailableError(
                    Code.FIELD_INVALID, f"server_timezone: {error}"
                ) from error
        return self._times[key]

    def tick(self, time: ServerTime, symbol: str) -> Any:
        """The latest quote, or None; it also sets our idea of the server's clock."""
        tick = self.mt.symbol_info_tick(symbol)
        if tick is None and self.mt.symbol_select(symbol, True):  # it was taken off the list
            tick = self.mt.symbol_info_tick(symbol)
        if tick is not None and tick.time_msc:
            time.see(symbol, tick.time_msc)
        return tick

    def sample_clock(
        self, spec: ConnectionSpec, info: Any, every: float = CLOCK_SECONDS
    ) -> ServerTime:
        """See some ticks of symbols that were asked for lately; where the zone is known, not more
        often than `every` so many seconds."""
        time = self.time(spec, info)
        if time.zone is not None and monotonic() - time.sampled_at < every:
            return time
        time.sampled_at = monotonic()
        symbols = [symbol for login, symbol in self._symbols if login == info.login][-5:]
        if configured := spec.settings.get("clock_symbol"):
            symbols.append(str(configured))
        for symbol in symbols:
            self.tick(time, symbol)
        return time


def terminal_of(spec: ConnectionSpec) -> str:
    """The name of the terminal that serves an account."""
    return str(spec.settings.get("terminal") or MAIN).lower()


def _folder(path: str) -> str:
    return ntpath.normcase(ntpath.dirname(path))


def is_account(info: Any, spec: ConnectionSpec, login: int) -> bool:
    """Whether it is this account: numbers are unique only within a server."""
    server = server_of(spec)
    return bool(info.login == login and (not server or info.server.lower() == server.lower()))


def _connect_arguments(spec: ConnectionSpec) -> dict[str, str]:
    configured = {"password": spec.credentials["password"], "server": server_of(spec)}
    return {name: value for name, value in configured.items() if value}
