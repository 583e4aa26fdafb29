"""`manage.py conformance` on an account of the paper broker, as for any other broker."""

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal as D
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from brokers.paper import exchange, reads
from brokers.paper.db_sessions import sessions
from brokers.paper.models import PaperOrder, PaperPosition
from brokers.registry import new_adapter
from brokers.types import ConnectionSpec, Quote
from common.clocks import market_now
from conformance import guard, live_account
from conformance.runner import Mark, all_checks, run
from conformance.scenario import Scenario
from connections import session_lanes
from connections.models import ExecutionConnection, LaneLease
from execution.runtime.lane_leases import LaneLeaseManager, LaneSelection
from signals.models import Feed
from tests.connections.conftest import elsewhere
from tests.execution import factories
from tests.fakes.paper_server.operations import set_terms

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("switched_off")]
SPEC = ConnectionSpec("c-A1", "A1")


@pytest.fixture
def switched_off(feed: Feed) -> Iterator[ExecutionConnection]:
    """An account at the paper broker, quoted at 1.10000, that no worker trades on."""
    exchange.list_instruments()
    exchange.on_quotes([Quote("EUR/USD", D("1.10000"), D("1.10002"), market_now())])
    exchange.open_account("A1", balance=D(100_000))
    yield factories.account(feed, type="paper", account="A1", name="demo", is_active=False)
    sessions.close()


def run_command(*options: str, out: StringIO | None = None) -> tuple[int, str]:
    """Run the command; return its exit code and its output."""
    out = out or StringIO()
    arguments = ("conformance", "--connection", "demo", *options)
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def in_a_lane_of_its_own(connection: ExecutionConnection) -> None:
    ExecutionConnection.objects.filter(pk=connection.pk).update(lane="mt5.demo")


def is_clean() -> bool:
    open_positions = PaperPosition.objects.filter(quantity__gt=0)
    return not open_positions and not PaperOrder.objects.filter(status="WORKING")


def test_conformance_does_nothing_without_the_flag() -> None:
    code, output = run_command()
    assert (code, "--i-know-it-trades" in output) == (2, True)
    assert not PaperOrder.objects.exists()


def test_unknown_check_is_an_error() -> None:
    code, output = run_command("--i-know-it-trades", "--check", "C999")
    assert (code, "There is no check 'C999'" in output) == (2, True)


def test_conformance_refuses_an_account_that_workers_trade_on(
    switched_off: ExecutionConnection,
) -> None:
    ExecutionConnection.objects.filter(pk=switched_off.pk).update(is_active=True)
    code, output = run_command("--i-know-it-trades")
    assert (code, "Switch it off" in output) == (2, True)
    assert not PaperOrder.objects.exists()


def test_conformance_refuses_real_money_without_its_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper broker uses play money; here it reports real money."""
    summary = reads.account_state

    def real(account_id: int) -> object:
        state = summary(account_id)
        return type(state)(**{f: getattr(state, f) for f in state.__slots__} | {"demo": False})

    monkeypatch.setattr(reads, "account_state", real)
    code, output = run_command("--i-know-it-trades", "--check", "C01")
    assert (code, "This account trades real money" in output) == (2, True)
    assert not PaperOrder.objects.exists()
    code, output = run_command("--i-know-it-trades", "--real-money", "--check", "C01")
    assert code == 0, output


def test_conformance_refuses_an_account_with_open_positions() -> None:
    asyncio.run(bought())
    code, output = run_command("--i-know-it-trades")
    assert (code, "a position of BUY 2000" in output) == (2, True)
    assert PaperOrder.objects.count() == 1


def test_conformance_refuses_a_terminal_that_a_worker_uses(
    switched_off: ExecutionConnection,
) -> None:
    in_a_lane_of_its_own(switched_off)
    with guard.exclusive_lock("mt5.demo"):
        code, output = run_command("--i-know-it-trades", "--check", "C01")
    assert (code, "Stop that worker while the checks run" in output) == (2, True), output
    assert not PaperOrder.objects.exists()


def test_conformance_refuses_an_account_in_a_lane_of_a_session_worker(
    switched_off: ExecutionConnection,
) -> None:
    """A worker leaves a switched-off account alone, except for tests that its owner requests."""
    ExecutionConnection.objects.filter(pk=switched_off.pk).update(lane="sessions.3")
    worker = LaneLeaseManager("worker-1", LaneSelection.of(["sessions.3"]), 10)
    assert worker.balance() == ["sessions.3"]
    code, output = run_command("--i-know-it-trades", "--check", "C01")
    assert (code, "worker-1 holds lane sessions.3" in output) == (2, True), output
    assert "Stop all session workers meanwhile" in output
    assert not PaperOrder.objects.exists()
    worker.release(["sessions.3"])
    code, output = run_command("--i-know-it-trades", "--check", "C01")
    assert code == 0, output
    assert session_lanes.lane_owner("sessions.3") == ""


def test_checks_stop_when_the_account_is_switched_on(switched_off: ExecutionConnection) -> None:
    """Workers trade on it from then on: no further check starts."""
    first, second = [one.number for one in all_checks()][:2]

    class Seen(StringIO):
        def write(self, text: str) -> int:
            if text.startswith(first):
                with elsewhere(
                    lambda: ExecutionConnection.objects.filter(pk=switched_off.pk).update(
                        is_active=True
                    )
                ) as done:
                    pass
                assert done == [1]
            return super().write(text)

    code, output = run_command(
        "--i-know-it-trades", "--check", first, "--check", second, out=Seen()
    )
    summary = json.loads(output.splitlines()[-1])
    assert (code, summary["ok"], summary["not_applicable"]) == (0, 1, 1), output
    assert "not started: demo is active" in output


def test_conformance_keeps_its_lane_for_the_whole_run(
    switched_off: ExecutionConnection, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run longer than a lease renews it and releases the lane afterwards."""
    in_a_lane_of_its_own(switched_off)
    settings.FILLCAST_LEASE_SECONDS = 6.0
    monkeypatch.setattr(guard, "RENEWALS", 60)
    with guard.exclusive_lock("mt5.demo") as is_ours:
        first = session_lanes.lane_owner("mt5.demo")
        ends = LaneLease.objects.get(lane="mt5.demo").until
        while LaneLease.objects.get(lane="mt5.demo").until == ends:
            time.sleep(0.05)
        assert is_ours()
        assert session_lanes.lane_owner("mt5.demo") == first != ""
    assert session_lanes.lane_owner("mt5.demo") == ""
    code, output = run_command("--i-know-it-trades", "--check", "C01")
    assert code == 0, output


def test_all_checks_run_and_leave_no_positions() -> None:
    code, output = run_command("--i-know-it-trades")
    summary = json.loads(output.splitlines()[-1])
    assert (code, summary["failed"]) == (0, {}), output
    assert summary["ok"] + summary["not_applicable"] == len(all_checks())
    assert summary["ok"] >= 50
    assert is_clean()


def test_positions_of_a_failed_check_are_closed() -> None:
    """Also after a check that is interrupted by its caller."""

    async def fails(scenario: Scenario) -> None:
        await scenario.buy()
        await scenario.place_working()
        raise AssertionError("on purpose")

    async def is_cut(scenario: Scenario) -> None:
        await scenario.buy()
        stopped.set()
        await asyncio.Event().wait()

    async def play(work: object) -> Mark:
        [one] = [type(c)(c.number, c.name, c.description, (), work) for c in all_checks()[:1]]  # type: ignore[arg-type]
        return (await run([one], (await real_account()).ready))[0].mark

    async def cut() -> None:
        task = asyncio.create_task(play(is_cut))
        await stopped.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stopped = asyncio.Event()
    assert asyncio.run(play(fails)) is Mark.FAIL
    assert is_clean()
    asyncio.run(cut())
    assert is_clean()


def test_no_check_starts_after_a_failed_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_account, "CLEAR_SECONDS", 0.2)

    async def play() -> list[str]:
        stage = await real_account()

        async def disallowed(scenario: Scenario) -> None:
            await scenario.buy()
            await asyncio.to_thread(disallow)

        first = all_checks()[0]
        wrong = type(first)("C00", "leaves", "", (), disallowed)
        results = await run([wrong, first], stage.ready)
        return [f"{one.mark} {one.why}" for one in results]

    left, after = asyncio.run(play())
    assert left.startswith("FAIL NotFlat: a position of BUY 4000 EURUSD")
    assert after.startswith("n/a not started: a position of BUY 4000 EURUSD")


def disallow() -> None:
    """On a thread of its own, which leaves no connection to the database behind."""
    set_terms(["A1"], {"trading_allowed": False})
    connection.close()


async def real_account() -> live_account.LiveAccount:
    adapter = new_adapter("paper")
    instrument = live_account.choose_instrument(await adapter.instruments(SPEC), "EURUSD")
    await adapter.disconnect()
    return live_account.LiveAccount(lambda: new_adapter("paper"), SPEC, instrument)


async def bought() -> None:
    stage = await real_account()
    stage.quantity = D(2000)
    await Scenario(
        stage, live_account.choose_instrument(await stage.adapter.instruments(SPEC), "EURUSD")
    ).buy()
    await stage.adapter.disconnect()
