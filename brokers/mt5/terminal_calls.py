"""How a call reaches the terminal: its turn on the terminal's thread, its time, and what its
failure means for an order or a read."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.mt5.client import PackageClient
from brokers.mt5.form import REPLY_SECONDS
from brokers.mt5.orders import OrderExecutor
from brokers.mt5.session import Terminal, TerminalEndpoint
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
    """One terminal, the thread of its calls and the process of its package."""

    def __init__(
        self, endpoint: TerminalEndpoint, record_cache: RecordCache = RECORD_CACHE
    ) -> None:
        self.library = PackageClient()
        self.terminal = Terminal(self.library, endpoint, record_cache)
        self.open: set[str] = set()  # connections that called, and were not let go of since
        self._lane = TerminalThread()

    async def order(
        self,
        spec: ConnectionSpec,
        work: Callable[[OrderExecutor], list[OrderReport]],
        priority: CallPriority,
        send_by: float | None,
    ) -> list[OrderReport]:
        """Do what may leave an order. Raises NotSent, Rejected or OutcomeUnknown."""

        def do(job: TerminalCall) -> list[OrderReport]:
            try:
                return work(OrderExecutor(self.terminal, spec, job))
            except (TerminalUnavailableError, ReadFailed) as error:
                raise _order_outcome(job, error.code, error.detail) from error
            except BrokerError:
                raise
            except Exception as error:
                raise _order_outcome(
                    job, Code.UNEXPECTED, f"{type(error).__name__}: {error}"
                ) from error

        self.open.add(spec.connection_id)
        try:
            return await self.run(do, _reply_seconds(spec), priority, send_by)
        except NoAnswerError as error:
            if error.stage is CallStage.SENT:
                raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
            late = send_by is not None and machine_time() >= send_by
            code = Code.SEND_DEADLINE if late else Code.NOT_CONNECTED
            raise NotSent(code, error.detail) from error

    async def read(self, spec: ConnectionSpec, work: Callable[[Terminal, ConnectionSpec], T]) -> T:
        """Ask something that changes nothing. Raises ReadFailed."""
        try:
            return await self.ask(spec, work)
        except Rejected as error:
            raise ReadFailed(error.code, error.detail) from error

    async def ask(self, spec: ConnectionSpec, work: Callable[[Terminal, ConnectionSpec], T]) -> T:
        """The same of what may be refused. Raises Rejected, ReadFailed."""

        def do(_: TerminalCall) -> T:
            found = work(self.terminal, spec)
            self.terminal.still(spec)
            return found

        self.open.add(spec.connection_id)
        try:
            return await self.run(do, READ_SECONDS)
        except (Rejected, ReadFailed):
            raise
        except BrokerError as error:
            raise ReadFailed(error.code, error.detail) from error
        except NoAnswerError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, error.detail) from error
        except Exception as error:  # an answer that cannot be read
            raise ReadFailed(Code.UNEXPECTED, type(error).__name__) from error

    async def run(
        self,
        work: Callable[[TerminalCall], T],
        seconds: float,
        priority: CallPriority = CallPriority.READ,
        send_by: float | None = None,
    ) -> T:
        """On the terminal's thread; a call of the package that hangs is ended there. Raises
        NoAnswer, and what `work` raises."""

        def do(job: TerminalCall) -> T:
            self.library.until = lambda: job.until
            return work(job)

        return await self._lane.run(do, seconds=seconds, priority=priority, send_by=send_by)

    async def leave(self) -> None:
        """End the package's process; the next call starts another and finds the terminal again."""

        def do(_: TerminalCall) -> None:
            if self.library.is_running:
                with suppress(ReadFailed):
                    self.terminal.close()
                self.library.close()

        with suppress(NoAnswerError):  # it hangs: there is nobody to take leave of
            await self.run(do, READ_SECONDS)


def _order_outcome(job: TerminalCall, code: Code, detail: str) -> BrokerError:
    """What an error means for an order: before the send nothing has left, after it nobody knows."""
    if job.stage is CallStage.SENT:
        return OutcomeUnknown(Code.REPLY_LOST if code is Code.BROKER_UNREACHABLE else code, detail)
    return NotSent(code if code in PASSED_THROUGH else Code.NOT_CONNECTED, detail)


def _reply_seconds(spec: ConnectionSpec) -> float:
    value = spec.settings.get("reply_timeout")
    return float(value) if isinstance(value, int | float) else REPLY_SECONDS
