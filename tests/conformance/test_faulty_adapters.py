"""Each of these adapters has one fault, and a check fails because of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import pytest

from brokers.base import BrokerAdapter
from conformance.harness import Harness
from conformance.runner import Mark, OpenHarness, Result, cases, run
from tests.conformance import wrong, wrong_reads
from tests.conformance.stages import stages_of
from tests.conformance.stages.paper import opening

DETECTED = [  # the check, the adapter, and a part of the check's reason
    ("C01", wrong.ReportsHalf, "only this was reported"),
    ("C01", wrong.ReportsForAnotherConnection, "connection 'c-other'"),
    ("C11", wrong.HidesStopOrders, "was not refused"),
    ("C12", wrong.DropsLevels, "does not show both levels"),
    ("C13", wrong.OmitsBrokerMessage, "does not have the broker's message"),
    ("C14", wrong.RejectsLostReplies, "reported as Rejected"),
    ("C15", wrong.ResendsUnknown, "accepted it 2 times"),
    ("C20", wrong.SkipsGuard, "it was sent"),
    ("C21", wrong.GuardsAnotherOrder, "called with another order"),
    ("C22", wrong.ClaimsIdRefusal, "accepted it 2 times"),
    ("C23", wrong.ResendsUnknownLater, "accepted it 2 times"),
    ("C24", wrong.ResendsUnknownLater, "accepted it 1 times, not 0"),
    ("C29", wrong.RaisesUnknownForRejection, "raised OutcomeUnknown"),
    ("C30", wrong.RoundsUp, "was filled of"),
    ("C31", wrong.RoundsUp, "was not refused"),
    ("C39", wrong.UsesOrderIdAsFillId, "only this was reported"),
    ("C41", wrong.CancelsNothing, "it is still open"),
    ("C42", wrong.CancelsNothing, "it reports CANCELLED"),
    ("C44", wrong.CancelsNothing, "it reports CANCELLED"),
    ("C45", wrong.CancelsPastDeadline, "it was sent"),
    ("C46", wrong.ChangesNoLevels, "the position shows"),
    ("C47", wrong.ChangesNoLevels, "the position shows"),
    ("C48", wrong.ChangesNoLevels, "the position shows"),
    ("C49", wrong.ModifiesPastDeadline, "it was sent"),
    ("C54", wrong.ClosesAll, "the open quantity is"),
    ("C55", wrong.ClosesByOpposite, "was filled"),
    ("C57", wrong.ClosesByOpposite, "was filled"),
    ("C59", wrong_reads.OmitsCloseCauses, "do not have the exit"),
    ("C63", wrong_reads.ReturnsFloats, "AccountState.equity is a float"),
    ("C64", wrong_reads.ReturnsZeroSteps, "Decimal('0')"),
    ("C68", wrong_reads.NeverConfirmsAbsence, "never proves"),
    ("C69", wrong_reads.FindsOnlyCachedOrders, "does not find it"),
    ("C72", wrong_reads.OmitsLastFill, "are missing"),
    ("C73", wrong_reads.ChangesFillIds, "other ids"),
    ("C77", wrong_reads.SwapsBidAndAsk, "bid"),
    ("C77", wrong_reads.ReturnsNaiveTime, "not aware UTC"),
    ("C81", wrong_reads.PlacesWhatIf, "accepted it 1 times, not 0"),
    ("C85", wrong_reads.AcknowledgesEvents, "without an acknowledgement"),
    ("C87", wrong_reads.NeverNotifies, "no notification comes"),
    ("C90", wrong_reads.OmitsHints, "the hint is missing"),
    ("C90", wrong_reads.LeaksSecrets, "contains the credential password"),
    ("C99", wrong_reads.StaysDisconnected, "the open quantity is"),
    ("C105", wrong_reads.FindsOnlyTheFirst, "only this was reported"),
    ("C106", wrong.ClosesTheOldest, "the first one was closed"),
    ("C112", wrong.AssumesSentLevels, "states that the broker holds"),
    ("C114", wrong.ChangesNoLevels, "states that the broker holds"),
    ("C117", wrong_reads.OmitsLastFill, "is not listed once"),
    ("C118", wrong_reads.ReportsRepeatedIdOnce, "the second execution is not listed"),
    ("C108", wrong_reads.ReadsOnlyFirstAccount, "reported for the other account"),
]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(300)
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
    open_harness = opening(by_tcp=True, wrap=partial(_wrap, wrong_reads.HidesReadFailures))
    result = _result("C71", open_harness)
    assert (result.mark, result.why) == (Mark.FAIL, "positions returned []")


@pytest.mark.parametrize(
    ("faulty", "number", "text"),
    [
        (wrong_reads.ReadsUpToOurTime, "C109", "the second execution is not read"),
        (wrong_reads.OmitsClockCheck, "C109", "does not report the clock difference"),
        (wrong_reads.ReadsSinceOurTime, "C111", "the execution is not read"),
    ],
)
def test_ignored_clock_difference_is_detected(
    faulty: type[wrong.FaultyAdapter], number: str, text: str
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
        (wrong.SendsNoWorstPrice, "mt5 netting", "C116", Mark.OK, ""),
        (wrong.SendsNoWorstPrice, "mt5 netting", "C119", Mark.FAIL, "filled beyond its limit"),
        (wrong.ClaimsWorstPriceSupport, "mt5 hedging", "C119", Mark.FAIL, "claims to keep every"),
    ],
)
def test_worst_price_that_is_not_sent_is_detected(
    faulty: type[wrong.FaultyAdapter], name: str, number: str, mark: Mark, text: str
) -> None:
    """On MetaTrader 5, whose adapter checks the price itself: C116 alone does not detect it."""

    @contextlib.asynccontextmanager
    async def open_harness() -> AsyncIterator[Harness]:
        async with stages_of("mt5")[name]() as harness:
            harness.adapter = _wrap(faulty, harness.adapter)
            yield harness

    result = _result(number, open_harness)
    assert (result.mark, text in result.why) == (mark, True)


def _wrap(faulty: type[wrong.FaultyAdapter], inner: BrokerAdapter) -> BrokerAdapter:
    return cast(BrokerAdapter, faulty(inner))


def _result(number: str, open_harness: OpenHarness) -> Result:
    @contextlib.asynccontextmanager
    async def with_short_waits() -> AsyncIterator[Harness]:
        async with open_harness() as harness:
            harness.patience = harness.absence = 1.0
            yield harness

    [chosen] = [one for one in cases() if one.number == number]
    return asyncio.run(run([chosen], with_short_waits))[0]
