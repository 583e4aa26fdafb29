"""manage.py conformance: run the conformance checks on a connection's account."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from brokers import rate_limits
from brokers.base import BrokerAdapter, BrokerError, ReadFailed
from brokers.registry import new_adapter
from brokers.types import ConnectionSpec
from common.errors import FillcastError, MisconfiguredError
from common.money import plain, read_decimal
from common.process.commands import HelpedCommand
from common.reason_codes import Code
from conformance.guard import exclusive_lock, guard_error, guard_error_now
from conformance.harness import Harness, NotApplicable
from conformance.live_account import LiveAccount, choose_instrument
from conformance.registry import ConformanceCheck
from conformance.report import as_json, line, summary
from conformance.runner import Mark, Result, run, select_checks
from connections.forms import check_resolved
from connections.models import ExecutionConnection
from connections.selectors import find_connection, spec_for

HELP = """\
Run the checks of docs/conformance.md on a connection's account. They place real orders at its
broker.

The connection must be switched off, so that no worker trades on it meanwhile, and the account must
hold nothing of the symbol. Use a demo account. After each check, and on Ctrl-C, its orders are
cancelled and its positions closed.

  manage.py conformance --connection ID --i-know-it-trades
  manage.py conformance --connection ID --i-know-it-trades --symbol EURUSD --check C12

Exit code: 0 no check failed, 1 a check failed, 2 refused or interrupted. The last line is JSON."""

SESSION_SECONDS = 90.0  # for a worker to close the session of a connection that is switched off
RETRY_SECONDS = 2.0
PERMANENT = (Code.CREDENTIALS_REFUSED, Code.UNKNOWN_ACCOUNT, Code.TRADING_DISABLED)
CHECK_SECONDS = 300.0


class Command(HelpedCommand):
    """Run the conformance checks on a real account."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--connection", metavar="ID", required=True, help="id, name or account")
        add("--i-know-it-trades", action="store_true", help="confirm that it may trade")
        add("--real-money", action="store_true", help="allow an account that is not a demo")
        add("--symbol", default="", help="the broker's symbol, or a pair")
        add("--quantity", help="base units (default: the smallest that can be halved)")
        add("--check", action="append", metavar="C01", help="run this check only; repeatable")

    def handle(self, *, connection: str, **options: Any) -> None:
        """Run the checks and print their results. Raises CommandError if they may not run."""
        found, spec = self._allowed(connection, options)
        results: list[Result] = []
        try:
            with exclusive_lock(found.lane) as is_held:
                asyncio.run(self._run_checks(found, spec, options, results, is_held))
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.stderr.write("Interrupted. Open orders were cancelled and positions closed.")
        except (BrokerError, FillcastError, LookupError, ImportError) as error:
            raise CommandError(f"{found.name}: {error}", returncode=2) from error
        self.stdout.write(f"{found.name}: {summary(results)}")
        self.stdout.write(as_json({found.type: results}))
        if any(result.mark is Mark.FAIL for result in results):
            raise SystemExit(1)
        if len(results) < len(_selected(options)):
            raise SystemExit(2)

    def _allowed(
        self, text: str, options: dict[str, Any]
    ) -> tuple[ExecutionConnection, ConnectionSpec]:
        """Return the connection, if the checks may run on it now. Raises CommandError."""
        try:
            _selected(options)
            found = ExecutionConnection.objects.get(pk=find_connection(text))
            spec = spec_for(found)
            check_resolved(found.type, spec.settings, found.owner_name)
        except (LookupError, FillcastError, MisconfiguredError) as error:
            raise CommandError(str(error), returncode=2) from error
        if not options["i_know_it_trades"]:
            raise CommandError(
                f"This places orders on {found.name} ({found.type}, account {found.account})."
                " Add --i-know-it-trades to confirm.",
                returncode=2,
            )
        if error_text := guard_error(found):
            raise CommandError(error_text, returncode=2)
        return found, spec

    async def _run_checks(
        self,
        found: ExecutionConnection,
        spec: ConnectionSpec,
        options: dict[str, Any],
        results: list[Result],
        is_held: Callable[[], bool],
    ) -> None:
        rate_limits.configure(settings.REDIS_URL, 2)
        harness = await self._open_account(found.type, spec, options)

        def on_result(result: Result) -> None:
            results.append(result)
            self.stdout.write(line(result))

        @contextlib.asynccontextmanager
        async def ready() -> AsyncIterator[Harness]:
            if not is_held():
                raise NotApplicable("not started: another process holds the session lane")
            if error_text := await asyncio.to_thread(guard_error_now, found):
                raise NotApplicable(f"not started: {error_text}")
            async with harness.ready() as ready_harness:
                yield ready_harness

        try:
            with _sigterm_cancels():
                await run(_selected(options), ready, on_result, CHECK_SECONDS)
        finally:
            await harness.adapter.disconnect()
        if harness.left:
            self.stderr.write(f"CHECK THE ACCOUNT: {harness.left}.")

    async def _open_account(
        self, broker_type: str, spec: ConnectionSpec, options: dict[str, Any]
    ) -> LiveAccount:
        """Open the account, if it may trade. Raises CommandError, BrokerError, LookupError."""
        adapter = new_adapter(broker_type)
        try:
            await _connect(adapter, spec)
            state = await adapter.account(spec)
            if state.demo is False and not options["real_money"]:
                raise CommandError(
                    "This account trades real money. Use a demo account.", returncode=2
                )
            if state.demo is None:
                self.stderr.write("The broker does not state whether this is a demo account.")
            listed = await adapter.instruments(spec)
        finally:
            await adapter.disconnect()
        instrument = choose_instrument(listed, options["symbol"])
        text = options["quantity"]
        quantity = read_decimal(text, field="quantity", positive=True) if text else None
        account = LiveAccount(partial(new_adapter, broker_type), spec, instrument, quantity)
        if held := await account.opened():
            await account.adapter.disconnect()
            message = f"The account has {', '.join(held)}. Close it, or use another --symbol."
            raise CommandError(message, returncode=2)
        self.stdout.write(f"{spec.account}: {plain(account.quantity)} {account.symbol} per order")
        return account


def _selected(options: dict[str, Any]) -> Sequence[ConformanceCheck]:
    return select_checks(options["check"] or ())


async def _connect(adapter: BrokerAdapter, spec: ConnectionSpec) -> None:
    """Connect; if a worker may still hold the session, wait until it closes it."""
    loop = asyncio.get_running_loop()
    wait = SESSION_SECONDS if adapter.capabilities(spec).session else 0.0
    end = loop.time() + wait
    while True:
        try:
            await adapter.connect(spec)
        except ReadFailed as error:
            if error.code in PERMANENT or loop.time() > end:
                raise
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


@contextlib.contextmanager
def _sigterm_cancels() -> Iterator[None]:
    """Make SIGTERM stop the checks like Ctrl-C, so that open positions are closed first."""
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
