"""Make the checks of the conformance suite on a connection's account."""

import asyncio
import contextlib
import signal
from argparse import RawDescriptionHelpFormatter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers import rate_limits
from brokers.base import BrokerAdapter, BrokerError, ReadFailed
from brokers.registry import new_adapter
from brokers.types import ConnectionSpec
from common.errors import FillcastError, MisconfiguredError
from common.money import plain, read_decimal
from common.reason_codes import Code
from conformance.guard import exclusive_lock, guard_error, guard_error_now
from conformance.harness import Harness, NotApplicable
from conformance.live_account import LiveAccount, choose_instrument
from conformance.registry import Case
from conformance.report import as_json, line, summary
from conformance.runner import Mark, Result, run, select_cases
from connections.account_settings.validation import check_resolved
from connections.models import ExecutionConnection
from connections.selectors import find_connection, spec_for

HELP = """\
Make the checks of docs/conformance.md on a connection's account: real orders, at its broker.

The account must be switched off here, so that no worker trades on it meanwhile, and hold nothing of
the symbol. Take a demo account. What a check opens is closed when it is over, also on Ctrl-C.

  manage.py conformance --connection ID --i-know-it-trades
  manage.py conformance --connection ID --i-know-it-trades --symbol EURUSD --check C12

Exit code: 0 nothing failed, 1 a check failed, 2 refused or interrupted. The last line is JSON."""

SESSION_SECONDS = 90.0  # until a worker has closed the session of an account that is switched off
AGAIN_SECONDS = 2.0
OF_THE_OWNER = (Code.CREDENTIALS_REFUSED, Code.UNKNOWN_ACCOUNT, Code.TRADING_DISABLED)
LONGEST_SECONDS = 300.0


class Command(BaseCommand):
    """`manage.py conformance`."""

    help = HELP
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the help's lines as they are written."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--connection", metavar="ID", required=True, help="id, name or account")
        parser.add_argument("--i-know-it-trades", action="store_true", help="do it")
        parser.add_argument("--real-money", action="store_true", help="also where it is no demo")
        parser.add_argument("--symbol", default="", help="the broker's name or a pair")
        parser.add_argument("--quantity", help="base units; usually the least")
        parser.add_argument(
            "--check", action="append", metavar="C01", help="one check; all if left"
        )

    def handle(self, *, connection: str, **options: Any) -> None:
        found, spec = self._allowed(connection, options)
        results: list[Result] = []
        try:
            with exclusive_lock(found.lane) as is_ours:
                asyncio.run(self._play(found, spec, options, results, is_ours))
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.stderr.write("Interrupted; what was opened has been closed.")
        except (BrokerError, FillcastError, LookupError, ImportError) as error:
            raise CommandError(f"{found.name}: {error}", returncode=2) from error
        self.stdout.write(f"{found.name}: {summary(results)}")
        self.stdout.write(as_json({found.type: results}))
        if any(one.mark is Mark.FAIL for one in results):
            raise SystemExit(1)
        if len(results) < len(_wanted(options)):
            raise SystemExit(2)

    def _allowed(
        self, text: str, options: dict[str, Any]
    ) -> tuple[ExecutionConnection, ConnectionSpec]:
        """The connection, if the checks may be made on it now. Raises CommandError."""
        try:
            _wanted(options)
            found = ExecutionConnection.objects.get(pk=find_connection(text))
            spec = spec_for(found)
            check_resolved(found.type, spec.settings, found.owner_name)
        except (LookupError, FillcastError, MisconfiguredError) as error:
            raise CommandError(str(error), returncode=2) from error
        if not options["i_know_it_trades"]:
            raise CommandError(
                f"This places orders on {found.name} ({found.type}, account {found.account})."
                " Add --i-know-it-trades to do it.",
                returncode=2,
            )
        if why := guard_error(found):
            raise CommandError(why, returncode=2)
        return found, spec

    async def _play(
        self,
        found: ExecutionConnection,
        spec: ConnectionSpec,
        options: dict[str, Any],
        results: list[Result],
        is_ours: Callable[[], bool],
    ) -> None:
        rate_limits.configure(settings.REDIS_URL, 2)
        stage = await self._stage(found.type, spec, options)

        def on_result(result: Result) -> None:
            results.append(result)
            self.stdout.write(line(result))

        @contextlib.asynccontextmanager
        async def ready() -> AsyncIterator[Harness]:
            if not is_ours():
                raise NotApplicable("not begun: another process has taken the lane")
            if why := await asyncio.to_thread(guard_error_now, found):
                raise NotApplicable(f"not begun: {why}")
            async with stage.ready() as one:
                yield one

        try:
            with _ended_in_peace():
                await run(_wanted(options), ready, on_result, LONGEST_SECONDS)
        finally:
            await stage.adapter.disconnect()
        if stage.left:
            self.stderr.write(f"LOOK AT THE ACCOUNT: {stage.left}.")

    async def _stage(self, kind: str, spec: ConnectionSpec, options: dict[str, Any]) -> LiveAccount:
        """The account, if it may be traded on. Raises CommandError, BrokerError, LookupError."""
        adapter = new_adapter(kind)
        try:
            await _reached(adapter, spec)
            state = await adapter.account(spec)
            if state.demo is False and not options["real_money"]:
                raise CommandError("Its money is real. Take a demo account.", returncode=2)
            if state.demo is None:
                self.stderr.write("Whether its money is real the broker does not tell.")
            listed = await adapter.instruments(spec)
        finally:
            await adapter.disconnect()
        instrument = choose_instrument(listed, options["symbol"])
        said = options["quantity"]
        quantity = read_decimal(said, field="quantity", positive=True) if said else None
        stage = LiveAccount(partial(new_adapter, kind), spec, instrument, quantity)
        if held := await stage.opened():
            await stage.adapter.disconnect()
            words = f"The account has {', '.join(held)}. Close that, or take another --symbol."
            raise CommandError(words, returncode=2)
        self.stdout.write(f"{spec.account}: {plain(stage.quantity)} {stage.symbol} an order")
        return stage


def _wanted(options: dict[str, Any]) -> Sequence[Case]:
    return select_cases(options["check"] or ())


async def _reached(adapter: BrokerAdapter, spec: ConnectionSpec) -> None:
    """Connect; where a worker may still have the session, wait until it has let it go."""
    loop = asyncio.get_running_loop()
    wait = SESSION_SECONDS if adapter.capabilities(spec).session else 0.0
    end = loop.time() + wait
    while True:
        try:
            await adapter.connect(spec)
        except ReadFailed as error:
            if error.code in OF_THE_OWNER or loop.time() > end:
                raise
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return


@contextlib.contextmanager
def _ended_in_peace() -> Iterator[None]:
    """Let SIGTERM end the checks as Ctrl-C does: what is open is closed first."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    try:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    except NotImplementedError:  # Windows
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
