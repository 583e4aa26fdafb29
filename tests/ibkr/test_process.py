"""Killed processes: ours while an order is in flight, the broker's with its journal."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.base import OutcomeUnknown
from brokers.types import OrderReport, ReportKind
from tests.fakes.tws.server_process import ROOT, TwsProcess
from tests.ibkr.factories import QUICK, adapter, limit, protected, spec_at

pytestmark = pytest.mark.processes

ID = "abc00000000000001"
# The gateway is another process, which a busy machine may let wait.
BESIDE = replace(QUICK, connect=30.0, read=30.0, reply=30.0)


@pytest.fixture
def tws(tmp_path: Path) -> Iterator[TwsProcess]:
    tws = TwsProcess(tmp_path / "tws.jsonl")
    tws.do("quote", "EURUSD", "1.1000", "1.1002")
    yield tws
    tws.close()


@contextmanager
def our_process(tws: TwsProcess, when: str) -> Iterator[subprocess.Popen[str]]:
    """A client process that has started to place an order."""
    command = [sys.executable, "-m", "tests.ibkr.client_process", str(tws.port), ID, when]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "guard\n"
            yield process
        finally:
            process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


async def found_by_the_next(tws: TwsProcess) -> list[OrderReport] | None:
    """Look the order up from a new process; the old session may still be ending."""
    ours, spec = adapter(timing=BESIDE), spec_at(tws.port)
    try:
        return await ours.find_order(spec, ID)
    finally:
        await ours.disconnect()


def test_order_of_process_killed_after_the_write_is_found(tws: TwsProcess) -> None:
    tws.do("fault", "accept in silence")
    with our_process(tws, "wait") as process:
        tws.until(lambda state: state["accepted"] == [ID])
        kill(process)
    tws.until(lambda state: not state["clients"])
    found = asyncio.run(found_by_the_next(tws))
    assert found is not None
    assert [report.kind for report in found] == [ReportKind.ACCEPTED]

    async def placed_again() -> list[OrderReport]:
        ours, spec = adapter(timing=BESIDE), spec_at(tws.port)
        try:
            await ours.find_order(spec, ID)
            return await ours.submit(spec, limit(ID), lambda _: None)
        finally:
            await ours.disconnect()

    assert [r.kind for r in asyncio.run(placed_again())] == [ReportKind.ACCEPTED]
    state = tws.state()
    assert (state["accepted"], state["received"]) == ([ID], [ID])  # not twice


def test_order_of_process_killed_before_the_write_is_absent(tws: TwsProcess) -> None:
    with our_process(tws, "guard") as process:
        kill(process)
    tws.until(lambda state: not state["clients"])
    assert asyncio.run(found_by_the_next(tws)) is None
    assert tws.state()["received"] == []


def without_commissions(reports: list[OrderReport] | None) -> list[OrderReport]:
    """Return reports without the repetitions that only a new process makes."""
    return [
        replace(report, fills=tuple(f for f in report.fills if not f.is_commission_only))
        for report in reports or []
    ]


def test_fake_gateway_restores_its_journal(tws: TwsProcess) -> None:
    async def play() -> None:
        ours, spec = adapter(timing=replace(BESIDE, reply=4.0)), spec_at(tws.port)
        await ours.submit(spec, protected(ID), lambda _: None)
        tws.do("fault", "accept in silence")
        resting = limit("abc00000000000002")
        with pytest.raises(OutcomeUnknown):
            await ours.submit(spec, resting, lambda _: None)
        before = await ours.find_order(spec, ID)
        held = await ours.positions(spec)
        tws.kill()
        await ours.disconnect()  # else it reconnects first, with the same client id
        tws.start()
        again = adapter(timing=BESIDE)
        assert without_commissions(await again.find_order(spec, ID)) == before
        assert await again.positions(spec) == held
        found = await again.find_order(spec, resting.client_order_id)
        assert found is not None
        assert found[0].kind is ReportKind.ACCEPTED
        tws.do("fill", resting.client_order_id, "20000", "1.0900")
        assert sum(p.quantity for p in await again.positions(spec)) == Decimal(40000)
        await again.disconnect()

    asyncio.run(play())
    legs = [ID, f"{ID}:sl", f"{ID}:tp", "abc00000000000002"]
    assert tws.state()["accepted"] == legs
