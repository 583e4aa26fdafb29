"""Runs the checks on a harness: each ends as ok, FAIL or not applicable, with the reason."""

import asyncio
import contextlib
import importlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from brokers.base import BrokerError, outcome_of
from brokers.types import Instrument
from common.reason_codes import Code
from conformance.harness import Harness, InjectedFault, NotApplicable
from conformance.registry import IS_SUPPORTED, Capability, CheckFailed, ConformanceCheck, registered
from conformance.scenario import Scenario

OpenHarness = Callable[[], AbstractAsyncContextManager[Harness]]
"""Opens a harness for one check and closes it afterwards."""

MAX_SECONDS = 60.0


class Mark(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAIL = "FAIL"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check. why: what went wrong, or why it does not apply."""

    number: str
    name: str
    mark: Mark
    why: str
    milliseconds: float


def all_checks() -> list[ConformanceCheck]:
    """Return every check, by number."""
    importlib.import_module("conformance.checks")
    return registered()


def select_checks(numbers: Collection[str]) -> list[ConformanceCheck]:
    """Return the checks with these numbers; all, if none is given.

    Raises LookupError for an unknown number: otherwise a mistyped one would look like a success.
    """
    known, preferred = all_checks(), {number.upper() for number in numbers}
    if unknown := sorted(preferred - {item.number for item in known}):
        first, last = known[0].number, known[-1].number
        raise LookupError(f"There is no check {unknown[0]!r}; the numbers are {first} to {last}.")
    return [item for item in known if not preferred or item.number in preferred]


async def run(
    chosen: Sequence[ConformanceCheck],
    open_harness: OpenHarness,
    on_outcome: Callable[[Result], None] = lambda _: None,
    max_seconds: float = MAX_SECONDS,
) -> list[Result]:
    """Run the checks one after another, each on its own harness; call on_outcome after each.

    max_seconds: time limit of one check, including its clean-up.
    """
    results = []
    for check in chosen:
        result = await _timed(check, open_harness, max_seconds)
        on_outcome(result)
        results.append(result)
    return results


async def _timed(check: ConformanceCheck, open_harness: OpenHarness, max_seconds: float) -> Result:
    began = time.perf_counter()
    mark, why = await _marked(check, open_harness, max_seconds)
    took = (time.perf_counter() - began) * 1000
    return Result(check.number, check.name, mark, why, round(took, 1))


async def _marked(
    check: ConformanceCheck, open_harness: OpenHarness, max_seconds: float
) -> tuple[Mark, str]:
    async def run() -> tuple[Mark, str]:
        async with asyncio.timeout(max_seconds):
            return await _on_harness(check, open_harness)

    match await outcome_of(run()):
        case NotApplicable() as why:
            return Mark.NOT_APPLICABLE, str(why)
        case TimeoutError():
            return Mark.FAIL, f"not done after {max_seconds:.0f} s"
        case CheckFailed() as error:
            return Mark.FAIL, str(error)
        case Exception() as error:  # an adapter under test may raise anything
            return Mark.FAIL, f"{type(error).__name__}: {error}"
        case outcome:
            return outcome


async def _on_harness(check: ConformanceCheck, open_harness: OpenHarness) -> tuple[Mark, str]:
    async with open_harness() as harness:
        if why := missing_requirement(check, harness):
            return Mark.NOT_APPLICABLE, why
        scenario = Scenario(harness, await _instrument(harness))
        try:
            await check.function(scenario)
        except BrokerError as error:
            if error.code is Code.MARKET_CLOSED and InjectedFault.CLOSED in harness.unavailable:
                raise NotApplicable("the market is closed now") from error
            raise CheckFailed(f"{type(error).__name__} {error}") from error
        finally:
            await harness.clear(scenario.placed)
    return Mark.OK, ""


def missing_requirement(check: ConformanceCheck, harness: Harness) -> str:
    """Return why a check cannot run on a harness, or ''."""
    can = harness.adapter.capabilities(harness.spec)
    for need in check.needs:
        if isinstance(need, Capability):
            if not IS_SUPPORTED[need](can):
                return f"the account does not claim {need}"
        elif need in harness.unavailable:
            return harness.unavailable[need]
    return ""


async def _instrument(harness: Harness) -> Instrument:
    for instrument in await harness.adapter.instruments(harness.spec):
        if instrument.symbol == harness.symbol:
            return instrument
    raise CheckFailed(f"the instruments do not have {harness.symbol}")


@contextlib.asynccontextmanager
async def same_harness(harness: Harness) -> AsyncIterator[Harness]:
    """Use the same harness for each check, for an account that exists only once."""
    yield harness
