"""Each of these adapters has one fault, and a check fails because of it."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import pytest

from brokers.base import BrokerAdapter
from conformance.harness import Harness
from conformance.runner import Mark, OpenHarness, Result, all_checks, run
from tests.conformance import faulty_adapters, faulty_reads
from tests.conformance.stages import stages_of
from tests.conformance.stages.ibkr import IbkrStage
from tests.conformance.stages.paper import opening
from tests.steady_loop import run as run_steadily

DETECTED = [  # the check, the adapter, and a part of the check's reason
    ("C01", faulty_adapters.ReportsHalf, "only this was reported"),
    ("C01", faulty_adapters.ReportsForAnotherConnection, "connection 'c-other'"),
    ("C11", faulty_adapters.HidesStopOrders, "was not refused"),
    ("C12", faulty_adapters.DropsLevels, "does not show both levels"),
    ("C13", faulty_adapters.OmitsBrokerMessage, "does not have the broker's message"),
    ("C14", faulty_adapters.RejectsLostReplies, "reported as Rejected"),
    ("C15", faulty_adapters.ResendsUnknown, "accepted it 2 times"),
    ("C20", faulty_adapters.SkipsGuard, "it was sent"),
    ("C21", faulty_adapters.GuardsAnotherOrder, "called with another order"),
    ("C22", faulty_adapters.ClaimsIdRefusal, "accepted it 2 times"),
    ("C23", faulty_adapters.ResendsUnknownLater, "accepted it 2 times"),
    ("C24", faulty_adapters.ResendsUnknownLater, "accepted it 1 times, not 0"),
    ("C29", faulty_adapters.RaisesUnknownForRejection, "raised OutcomeUnknown"),
    ("C30", faulty_adapters.RoundsUp, "was filled of"),
    ("C31", faulty_adapters.RoundsUp, "was not refused"),
    ("C39", faulty_adapters.UsesOrderIdAsFillId, "only this was reported"),
    ("C41", faulty_adapters.CancelsNothing, "it is still open"),
    ("C42", faulty_adapters.CancelsNothing, "it reports CANCELLED"),
    ("C44", faulty_adapters.CancelsNothing, "it reports CANCELLED"),
    ("C45", faulty_adapters.CancelsPastDeadline, "it was sent"),
    ("C132", faulty_adapters.ChangesNoOrders, "it is listed as"),
    ("C132", faulty_adapters.ReplacesOrders, "it is another order"),
    ("C135", faulty_adapters.ChangesPastDeadline, "it was sent"),
    ("C46", faulty_adapters.ChangesNoLevels, "the position shows"),
    ("C47", faulty_adapters.ChangesNoLevels, "the position shows"),
    ("C48", faulty_adapters.ChangesNoLevels, "the position shows"),
    ("C49", faulty_adapters.ModifiesPastDeadline, "it was sent"),
    ("C54", faulty_adapters.ClosesAll, "the open quantity is"),
    ("C55", faulty_adapters.ClosesByOpposite, "was filled"),
    ("C57", faulty_adapters.ClosesByOpposite, "was filled"),
    ("C59", faulty_reads.OmitsCloseCauses, "do not have the exit"),
    ("C63", faulty_reads.ReturnsFloats, "AccountState.equity is a float"),
    ("C64", faulty_reads.ReturnsZeroSteps, "Decimal('0')"),
    ("C68", faulty_reads.NeverConfirmsAbsence, "never proves"),
    ("C69", faulty_reads.FindsOnlyCachedOrders, "does not find it"),
    ("C72", faulty_reads.OmitsLastFill, "are missing"),
    ("C73", faulty_reads.ChangesFillIds, "other ids"),
    ("C77", faulty_reads.SwapsBidAndAsk, "bid"),
    ("C77", faulty_reads.ReturnsNaiveTime, "not aware UTC"),
    ("C81", faulty_reads.PlacesWhatIf, "accepted it 1 times, not 0"),
    ("C85", faulty_reads.AcknowledgesEvents, "without an acknowledgement"),
    ("C87", faulty_reads.NeverNotifies, "no notification comes"),
    ("C90", faulty_reads.OmitsHints, "the hint is missing"),
    ("C90", faulty_reads.LeaksSecrets, "contains the credential password"),
    ("C99", faulty_reads.StaysDisconnected, "the open quantity is"),
    ("C105", faulty_reads.FindsOnlyTheFirst, "only this was reported"),
    ("C106", faulty_adapters.ClosesTheOldest, "the first one was closed"),
    ("C112", faulty_adapters.AssumesSentLevels, "states that the broker holds"),
    ("C114", faulty_adapters.ChangesNoLevels, "states that the broker holds"),
    ("C117", faulty_reads.OmitsLastFill, "is not listed once"),
    ("C118", faulty_reads.ReportsRepeatedIdOnce, "the second execution is not listed"),
    ("C108", faulty_reads.ReadsOnlyFirstAccount, "reported for the other account"),
]


@pytest.mark.exhaustive
@pytest.mark.django_db(transaction=True)
def test_each_faulty_adapter_is_detected() -> None:
    """In one test: cleaning the database between forty tests would take longer than the tests."""
    missed = []
    for number, faulty, text in DETECTED:
        result = _result(number, opening(wrap=partial(_wrap, faulty)))
        if result.mark is not Mark.FAIL or text not in result.why:
            missed.append((faulty.__name__, result))
    assert missed == []


@pytest.mark.django_db(transaction=True)
def test_hidden_read_failure_is_detected() -> None:
    """Over TCP, where an answer can be truncated."""
    open_harness = opening(by_tcp=True, wrap=partial(_wrap, faulty_reads.HidesReadFailures))
    result = _result("C71", open_harness)
    assert (result.mark, result.why) == (Mark.FAIL, "positions returned []")


@pytest.mark.parametrize(
    ("faulty", "number", "text"),
    [
        (faulty_adapters.SendsTrailingAsStop, "C150", "its type is STOP"),
        (faulty_adapters.SendsTrailingAsStop, "C152", "does not follow"),
        (faulty_adapters.ListsFirstStopPrice, "C151", "does not follow"),
        (faulty_adapters.DefaultsDistances, "C153", "only this was reported"),
        (faulty_reads.FindsOnlyCachedOrders, "C154", "does not find it"),
        (faulty_adapters.RejectsLostReplies, "C155", "reported as Rejected"),
    ],
)
def test_faulty_trailing_stop_is_detected(
    faulty: type[faulty_adapters.FaultyAdapter], number: str, text: str
) -> None:
    """At Interactive Brokers, which holds trailing stops itself."""

    @contextlib.asynccontextmanager
    async def open_harness() -> AsyncIterator[Harness]:
        async with stages_of("ibkr")["ibkr"]() as harness:
            stage = cast(IbkrStage, harness)
            new = stage._process
            stage._process = lambda: _wrap(faulty, new())  # type: ignore[assignment, method-assign, return-value]
            stage.adapter = stage._process()
            yield stage

    result = _result(number, open_harness)
    assert (result.mark, text in result.why) == (Mark.FAIL, True), result


@pytest.mark.parametrize(
    ("faulty", "number", "stage", "text"),
    [
        (faulty_adapters.SaysNothingOfTheRest, "C56", "binance perpetuals", "was reported"),
        (faulty_adapters.BelievesHalts, "C183", "binance spot", "Rejected MARKET_CLOSED"),
        (faulty_adapters.HidesDelisted, "C184", "binance spot", "0 positions are listed"),
        (faulty_adapters.HidesDust, "C185", "binance spot", "0 positions are listed"),
    ],
)
def test_exchange_that_is_outvoted_is_detected(
    faulty: type[faulty_adapters.FaultyAdapter], number: str, stage: str, text: str
) -> None:
    @contextlib.asynccontextmanager
    async def open_harness() -> AsyncIterator[Harness]:
        async with stages_of("crypto")[stage]() as harness:
            harness.adapter = _wrap(faulty, harness.adapter)
            yield harness

    result = _result(number, open_harness)
    assert (result.mark, text in result.why) == (Mark.FAIL, True), result


@pytest.mark.parametrize(
    ("faulty", "number", "text"),
    [
        (faulty_reads.ReadsUpToOurTime, "C109", "the second execution is not read"),
        (faulty_reads.OmitsClockCheck, "C109", "does not report the clock difference"),
        (faulty_reads.ReadsSinceOurTime, "C111", "the execution is not read"),
    ],
)
def test_ignored_clock_difference_is_detected(
    faulty: type[faulty_adapters.FaultyAdapter], number: str, text: str
) -> None:
    """On the example, whose broker has its own clock."""

    @contextlib.asynccontextmanager
    async def open_harness() -> AsyncIterator[Harness]:
        async with stages_of("tiny")["the example"]() as harness:
            harness.adapter = _wrap(faulty, harness.adapter)
            yield harness

    result = _result(number, open_harness)
    assert (result.mark, text in result.why) == (Mark.FAIL, True)


@pytest.mark.parametrize(
    ("faulty", "name", "number", "mark", "text"),
    [
        (faulty_adapters.SendsNoWorstPrice, "mt5 netting", "C116", Mark.OK, ""),
        (
            faulty_adapters.SendsNoWorstPrice,
            "mt5 netting",
            "C119",
            Mark.FAIL,
            "filled beyond its limit",
        ),
        (
            faulty_adapters.ClaimsWorstPriceSupport,
            "mt5 hedging",
            "C119",
            Mark.FAIL,
            "claims to keep every",
        ),
    ],
)
def test_worst_price_that_is_not_sent_is_detected(
    faulty: type[faulty_adapters.FaultyAdapter], name: str, number: str, mark: Mark, text: str
) -> None:
    """On MetaTrader 5, whose adapter checks the price itself: C116 alone does not detect it."""

    @contextlib.asynccontextmanager
    async def open_harness() -> AsyncIterator[Harness]:
        async with stages_of("mt5")[name]() as harness:
            harness.adapter = _wrap(faulty, harness.adapter)
            yield harness

    result = _result(number, open_harness)
    assert (result.mark, text in result.why) == (mark, True)


def _wrap(faulty: type[faulty_adapters.FaultyAdapter], inner: BrokerAdapter) -> BrokerAdapter:
    return cast(BrokerAdapter, faulty(inner))


def _result(number: str, open_harness: OpenHarness) -> Result:
    @contextlib.asynccontextmanager
    async def with_short_waits() -> AsyncIterator[Harness]:
        async with open_harness() as harness:
            harness.read_seconds = harness.absence_seconds = 1.0
            yield harness

    [chosen] = [one for one in all_checks() if one.number == number]
    return run_steadily(run([chosen], with_short_waits))[0]
