"""Run calls on the terminal's thread with time-outs, and map failures to outcomes of orders and
reads."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected, outcome_of
from brokers.exit_reads import is_exit_read
from brokers.mt5.activity import Activity, Span, read_activity
from brokers.mt5.client import PackageClient
from brokers.mt5.form import REPLY_SECONDS
from brokers.mt5.orders import OrderExecutor
from brokers.mt5.own_terminal import TerminalEndpoint
from brokers.mt5.session import Terminal
from brokers.mt5.terminal_thread import (
    CallPriority,
    CallStage,
    NoAnswerError,
    TerminalCall,
    TerminalThread,
)
from brokers.mt5.verified_logins import TerminalUnavailableError
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import ConnectionSpec, OrderReport
from common.clocks import machine_time
from common.reason_codes import Code

T = TypeVar("T")
READ_SECONDS = 20.0
PASSED_THROUGH = frozenset({
    Code.CREDENTIALS_REFUSED, Code.UNKNOWN_ACCOUNT, Code.TRADING_DISABLED, Code.LIBRARY_MISSING,
    Code.UNEXPECTED,
})  # fmt: skip


class TerminalCalls:
    """One terminal, its thread and its package's process."""

    def __init__(
        self, endpoint: TerminalEndpoint, record_cache: RecordCache = RECORD_CACHE
    ) -> None:
        self.library = PackageClient()
        self.terminal = Terminal(self.library, endpoint, record_cache)
        self.connection_ids: set[str] = set()  # connections that use the terminal
        self._thread = TerminalThread()

    async def order(
        self,
        spec: ConnectionSpec,
        work: Callable[[OrderExecutor], list[OrderReport]],
        priority: CallPriority,
        send_by: float | None,
    ) -> list[OrderReport]:
        """Run work that may send an order. Raises NotSent, Rejected or OutcomeUnknown."""

        def do(call: TerminalCall) -> list[OrderReport]:
            try:
                return work(OrderExecutor(self.terminal, spec, call))
            except (TerminalUnavailableError, ReadFailed) as error:
                raise _order_outcome(call, error.code, error.detail) from error
            except BrokerError:
                raise
            except Exception as error:  # any: after the send, a bug must not look like "not sent"
                raise _order_outcome(
                    call, Code.UNEXPECTED, f"{type(error).__name__}: {error}"
                ) from error

        self.connection_ids.add(spec.connection_id)
        try:
            return await self.run(do, _reply_seconds(spec), priority, send_by)
        except NoAnswerError as error:
            if error.stage is CallStage.SENT:
                raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
            late = send_by is not None and machine_time() >= send_by
            code = Code.SEND_DEADLINE if late else Code.NOT_CONNECTED
            raise NotSent(code, error.detail) from error

    async def read(self, spec: ConnectionSpec, work: Callable[[Terminal, ConnectionSpec], T]) -> T:
        """Run a read. Raises ReadFailed."""
        try:
            return await self.read_or_reject(spec, work)
        except Rejected as error:
            raise ReadFailed(error.code, error.detail) from error

    async def read_or_reject(
        self, spec: ConnectionSpec, work: Callable[[Terminal, ConnectionSpec], T]
    ) -> T:
        """Run a read that may be rejected. Raises Rejected, ReadFailed."""

        def do(_: TerminalCall) -> T:
            found = work(self.terminal, spec)
            self.terminal.require_account(spec)
            return found

        self.connection_ids.add(spec.connection_id)
        return await self._read(do, CallPriority.EXIT if is_exit_read() else CallPriority.READ)

    async def activity(self, spec: ConnectionSpec, span: Span) -> Activity | None:
        """Return the numbers of an account; None: not known now. Raises ReadFailed."""

        def do(_: TerminalCall) -> Activity | None:
            return read_activity(self.terminal, spec, span)

        return await self._read(do, CallPriority.LOOK)

    async def _read(self, work: Callable[[TerminalCall], T], priority: CallPriority) -> T:
        match await outcome_of(self.run(work, READ_SECONDS, priority)):
            case Rejected() | ReadFailed() as error:
                raise error
            case BrokerError() as error:
                raise ReadFailed(error.code, error.detail) from error
            case NoAnswerError() as error:
                raise ReadFailed(Code.BROKER_UNREACHABLE, error.detail) from error
            case Exception() as error:  # an answer of the package may have any shape
                raise ReadFailed(Code.UNEXPECTED, type(error).__name__) from error
            case answer:
                return answer

    async def run(
        self,
        work: Callable[[TerminalCall], T],
        seconds: float,
        priority: CallPriority = CallPriority.READ,
        send_by: float | None = None,
    ) -> T:
        """Run work on the terminal's thread, which ends a package call that hangs.

        Raises NoAnswerError, and what `work` raises."""

        def do(call: TerminalCall) -> T:
            self.library.call_deadline = lambda: call.deadline
            return work(call)

        return await self._thread.run(do, seconds=seconds, priority=priority, send_by=send_by)

    async def leave(self) -> None:
        """End the package's process; the next call starts another and finds the terminal again."""

        def do(_: TerminalCall) -> None:
            if self.library.is_running:
                with suppress(ReadFailed):
                    self.terminal.close()
            self.library.close()  # also what is left of one that has crashed

        with suppress(NoAnswerError):  # it hangs and is ended anyway
            await self.run(do, READ_SECONDS)


def _order_outcome(call: TerminalCall, code: Code, detail: str) -> BrokerError:
    """Return the outcome of an order for an error: NotSent before the send, unknown after it."""
    if call.stage is CallStage.SENT:
        return OutcomeUnknown(Code.REPLY_LOST if code is Code.BROKER_UNREACHABLE else code, detail)
    return NotSent(code if code in PASSED_THROUGH else Code.NOT_CONNECTED, detail)


def _reply_seconds(spec: ConnectionSpec) -> float:
    value = spec.settings.get("reply_timeout")
    return float(value) if isinstance(value, int | float) else REPLY_SECONDS
