"""How a call reaches the terminal: its turn on the terminal's thread, its time, and what its
failure means for an order or a read."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.messages import ConnectionSpec, OrderReport
from brokers.mt5.kind import REPLY_SECONDS
from brokers.mt5.lane import Job, Lane, NoAnswer, Stage, Turn
from brokers.mt5.library import Library
from brokers.mt5.proofs import Away
from brokers.mt5.session import Place, Terminal
from brokers.mt5.trading import Desk
from brokers.room import ROOM, Room
from common.clocks import machine_time
from common.codes import Code

T = TypeVar("T")
READ_SECONDS = 20.0
SAID_AS_IT_IS = frozenset({
    Code.CREDENTIALS_REFUSED, Code.UNKNOWN_ACCOUNT, Code.TRADING_DISABLED, Code.LIBRARY_MISSING,
    Code.UNEXPECTED,
})  # fmt: skip


class Calls:
    """One terminal, the thread of its calls and the process of its package."""

    def __init__(self, place: Place, room: Room = ROOM) -> None:
        self.library = Library()
        self.terminal = Terminal(self.library, place, room)
        self.open: set[str] = set()  # connections that called, and were not let go of since
        self._lane = Lane()

    async def order(
        self,
        spec: ConnectionSpec,
        work: Callable[[Desk], list[OrderReport]],
        turn: Turn,
        send_by: float | None,
    ) -> list[OrderReport]:
        """Do what may leave an order. Raises NotSent, Rejected or OutcomeUnknown."""

        def do(job: Job) -> list[OrderReport]:
            try:
                return work(Desk(self.terminal, spec, job))
            except (Away, ReadFailed) as error:
                raise _unsent(job, error.code, error.detail) from error
            except BrokerError:
                raise
            except Exception as error:
                raise _unsent(job, Code.UNEXPECTED, f"{type(error).__name__}: {error}") from error

        self.open.add(spec.connection_id)
        try:
            return await self.run(do, _patience(spec), turn, send_by)
        except NoAnswer as error:
            if error.stage is Stage.SENT:
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

        def do(_: Job) -> T:
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
        except NoAnswer as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, error.detail) from error
        except Exception as error:  # an answer that cannot be read
            raise ReadFailed(Code.UNEXPECTED, type(error).__name__) from error

    async def run(
        self,
        work: Callable[[Job], T],
        seconds: float,
        turn: Turn = Turn.READ,
        send_by: float | None = None,
    ) -> T:
        """On the terminal's thread; a call of the package that hangs is ended there. Raises
        NoAnswer, and what `work` raises."""

        def do(job: Job) -> T:
            self.library.until = lambda: job.until
            return work(job)

        return await self._lane.run(do, seconds=seconds, turn=turn, send_by=send_by)

    async def leave(self) -> None:
        """End the package's process; the next call starts another and finds the terminal again."""

        def do(_: Job) -> None:
            if self.library.is_running:
                with suppress(ReadFailed):
                    self.terminal.close()
                self.library.close()

        with suppress(NoAnswer):  # it hangs: there is nobody to take leave of
            await self.run(do, READ_SECONDS)


def _unsent(job: Job, code: Code, detail: str) -> BrokerError:
    """What an error means for an order: before the send nothing has left, after it nobody knows."""
    if job.stage is Stage.SENT:
        return OutcomeUnknown(Code.REPLY_LOST if code is Code.BROKER_UNREACHABLE else code, detail)
    return NotSent(code if code in SAID_AS_IT_IS else Code.NOT_CONNECTED, detail)


def _patience(spec: ConnectionSpec) -> float:
    said = spec.settings.get("reply_timeout")
    return float(said) if isinstance(said, int | float) else REPLY_SECONDS
