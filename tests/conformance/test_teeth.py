"""The checks can fail: each of these adapters is wrong in one thing, and one check says so."""

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

BITES = [  # the check, the adapter, and words of what the check says of it
    ("C01", wrong.TellsHalf, "only this was reported"),
    ("C01", wrong.SpeaksForAnother, "connection 'c-somebody'"),
    ("C11", wrong.ClaimsLess, "was not refused"),
    ("C12", wrong.ForgetsStops, "does not show both levels"),
    ("C13", wrong.GivesNoReason, "does not have the broker's message"),
    ("C14", wrong.BelievesSilence, "reported as Rejected"),
    ("C15", wrong.SendsAgain, "accepted it 2 times"),
    ("C20", wrong.AsksNobody, "it was sent"),
    ("C21", wrong.AsksAboutAnother, "called with another order"),
    ("C22", wrong.ClaimsMore, "accepted it 2 times"),
    ("C23", wrong.SendsAgainLater, "accepted it 2 times"),
    ("C24", wrong.SendsAgainLater, "accepted it 1 times, not 0"),
    ("C29", wrong.IsUnsure, "raised OutcomeUnknown"),
    ("C30", wrong.RoundsUp, "was filled of"),
    ("C31", wrong.RoundsUp, "was not refused"),
    ("C39", wrong.NumbersByOrder, "only this was reported"),
    ("C41", wrong.CancelsNothing, "it is still open"),
    ("C42", wrong.CancelsNothing, "it reports CANCELLED"),
    ("C44", wrong.CancelsNothing, "it reports CANCELLED"),
    ("C45", wrong.CancelsLate, "it was sent"),
    ("C46", wrong.MovesNothing, "the position shows"),
    ("C47", wrong.MovesNothing, "the position shows"),
    ("C48", wrong.MovesNothing, "the position shows"),
    ("C49", wrong.ModifiesLate, "it was sent"),
    ("C54", wrong.ClosesAll, "the open quantity is"),
    ("C55", wrong.ClosesByOpposite, "was filled"),
    ("C57", wrong.ClosesByOpposite, "was filled"),
    ("C59", wrong_reads.HidesCauses, "do not have the exit"),
    ("C63", wrong_reads.CountsInFloats, "AccountState.equity is a float"),
    ("C64", wrong_reads.HasNoSteps, "Decimal('0')"),
    ("C68", wrong_reads.IsNeverSure, "never proves"),
    ("C69", wrong_reads.RemembersOnly, "does not find it"),
    ("C72", wrong_reads.LeavesOneOut, "are missing"),
    ("C73", wrong_reads.HasOtherIds, "other ids"),
    ("C77", wrong_reads.TurnsPrices, "bid"),
    ("C77", wrong_reads.HasNoZone, "not aware UTC"),
    ("C81", wrong_reads.TriesIt, "accepted it 1 times, not 0"),
    ("C85", wrong_reads.TellsOnce, "without an acknowledgement"),
    ("C87", wrong_reads.NeverRings, "no notification comes"),
    ("C90", wrong_reads.HintsNothing, "the hint is missing"),
    ("C90", wrong_reads.TellsSecrets, "contains the credential password"),
    ("C99", wrong_reads.StaysAway, "the open quantity is"),
    ("C105", wrong_reads.FindsTheFirst, "only this was reported"),
    ("C106", wrong.ClosesTheOldest, "the first one was closed"),
    ("C112", wrong.BelievesWhatItSent, "states that the broker holds"),
    ("C114", wrong.MovesNothing, "states that the broker holds"),
    ("C117", wrong_reads.LeavesOneOut, "is not listed once"),
    ("C118", wrong_reads.TellsOrdersOnce, "the second execution is not listed"),
    ("C108", wrong_reads.MixesAccounts, "reported for the other account"),
]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(300)
def test_each_wrong_adapter_is_seen() -> None:
    """In one go: emptying the database between forty tests would take longer than they do."""
    missed = []
    for number, kind, words in BITES:
        result = _result(number, opening(wrap=partial(_stand, kind)))
        if result.mark is not Mark.FAIL or words not in result.why:
            missed.append((kind.__name__, result))
    assert missed == []


@pytest.mark.django_db(transaction=True)
def test_a_read_that_hides_its_failure_is_seen() -> None:
    """By TCP, where half an answer can come."""
    opened = opening(by_tcp=True, wrap=partial(_stand, wrong_reads.ReadsNothing))
    result = _result("C71", opened)
    assert (result.mark, result.why) == (Mark.FAIL, "positions returned []")


@pytest.mark.parametrize(
    ("kind", "number", "words"),
    [
        (wrong_reads.ReadsUpToOurNow, "C109", "the second execution is not read"),
        (wrong_reads.HasNoClock, "C109", "does not report the clock difference"),
        (wrong_reads.ReadsSinceOurTime, "C111", "the execution is not read"),
    ],
)
def test_a_clock_that_is_not_looked_at_is_seen(
    kind: type[wrong.Wrong], number: str, words: str
) -> None:
    """On the example, whose broker has a clock of its own."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        async with stages_of("tiny")["the example"]() as stage:
            stage.adapter = _stand(kind, stage.adapter)
            yield stage

    result = _result(number, opened)
    assert (result.mark, words in result.why) == (Mark.FAIL, True)


@pytest.mark.parametrize(
    ("kind", "name", "number", "mark", "words"),
    [
        (wrong.BoundsNothing, "mt5 netting", "C116", Mark.OK, ""),
        (wrong.BoundsNothing, "mt5 netting", "C119", Mark.FAIL, "filled beyond its limit"),
        (wrong.ClaimsEveryBound, "mt5 hedging", "C119", Mark.FAIL, "claims to keep every"),
    ],
)
def test_a_bound_that_is_only_checked_before_sending_is_seen(
    kind: type[wrong.Wrong], name: str, number: str, mark: Mark, words: str
) -> None:
    """At MetaTrader 5, whose adapter looks at the price itself: C116 alone does not notice."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        async with stages_of("mt5")[name]() as stage:
            stage.adapter = _stand(kind, stage.adapter)
            yield stage

    result = _result(number, opened)
    assert (result.mark, words in result.why) == (mark, True)


def _stand(kind: type[wrong.Wrong], right: BrokerAdapter) -> BrokerAdapter:
    return cast(BrokerAdapter, kind(right))


def _result(number: str, opened: OpenHarness) -> Result:
    @contextlib.asynccontextmanager
    async def impatient() -> AsyncIterator[Harness]:
        async with opened() as stage:
            stage.patience = stage.absence = 1.0
            yield stage

    [chosen] = [one for one in cases() if one.number == number]
    return asyncio.run(run([chosen], impatient))[0]
