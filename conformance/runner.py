"""Running the checks on a stage: each ends as ok, FAIL or not applicable, with the reason."""

import asyncio
import contextlib
import importlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from brokers.base import BrokerError
from brokers.types import Instrument
from common.reason_codes import Code
from conformance.harness import Harness, InjectedFault, NotApplicable
from conformance.registry import IS_SUPPORTED, Ability, Case, CheckFailed, registered
from conformance.scenario import Scenario

OpenHarness = Callable[[], AbstractAsyncContextManager[Harness]]
"""Opens a stage for one check and clears it away afterwards."""

MAX_SECONDS = 60.0


class Mark(StrEnum):
    OK = "ok"
    FAIL = "FAIL"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Result:
    """How a check ended. why: what went wrong, or why it does not apply."""

    number: str
    name: str
    mark: Mark
    why: str
    milliseconds: float


def cases() -> list[Case]:
    """Every check, by number."""
    importlib.import_module("conformance.checks")
    return registered()


def select_cases(numbers: Collection[str]) -> list[Case]:
    """The checks with these numbers; all, if none is given. Raises LookupError for an unknown one:
    who asks for it must not read that nothing failed."""
    known, preferred = cases(), {one.upper() for one in numbers}
    if strange := sorted(preferred - {one.number for one in known}):
        first, last = known[0].number, known[-1].number
        raise LookupError(f"There is no check {strange[0]!r}; they go from {first} to {last}.")
    return [one for one in known if not preferred or one.number in preferred]


async def run(
    chosen: Sequence[Case],
    open_stage: OpenHarness,
    on_outcome: Callable[[Result], None] = lambda _: None,
    max_seconds: float = MAX_SECONDS,
) -> list[Result]:
    """Make the checks one after another, each on a stage of its own; tell each as it ends.

    longest: seconds that one may take, with what it has to clear away."""
    results = []
    for one in chosen:
        result = await _timed(one, open_stage, max_seconds)
        on_outcome(result)
        results.append(result)
    return results


async def _timed(one: Case, open_stage: OpenHarness, max_seconds: float) -> Result:
    began = time.perf_counter()
    mark, why = await _marked(one, open_stage, max_seconds)
    took = (time.perf_counter() - began) * 1000
    return Result(one.number, one.name, mark, why, round(took, 1))


async def _marked(one: Case, open_stage: OpenHarness, max_seconds: float) -> tuple[Mark, str]:
    try:
        async with asyncio.timeout(max_seconds):
            return await _on_harness(one, open_stage)
    except NotApplicable as why:
        return Mark.NOT_APPLICABLE, str(why)
    except TimeoutError:
        return Mark.FAIL, f"not done after {max_seconds:.0f} s"
    except CheckFailed as error:
        return Mark.FAIL, str(error)
    except Exception as error:  # whatever an adapter raises that it must not
        return Mark.FAIL, f"{type(error).__name__}: {error}"


async def _on_harness(one: Case, open_stage: OpenHarness) -> tuple[Mark, str]:
    async with open_stage() as stage:
        if why := missing_requirement(one, stage):
            return Mark.NOT_APPLICABLE, why
        scenario = Scenario(stage, await _instrument(stage))
        try:
            await one.work(scenario)
        except BrokerError as error:
            if error.code is Code.MARKET_CLOSED and InjectedFault.CLOSED in stage.unavailable:
                raise NotApplicable("the market is closed now") from error
            raise CheckFailed(f"{type(error).__name__} {error}") from error
        finally:
            await stage.clear(scenario.placed)
    return Mark.OK, ""


def missing_requirement(one: Case, stage: Harness) -> str:
    """Why a check cannot be made on a stage, or ''."""
    can = stage.adapter.capabilities(stage.spec)
    for need in one.needs:
        if isinstance(need, Ability):
            if not IS_SUPPORTED[need](can):
                return f"the account does not claim {need}"
        elif need in stage.unavailable:
            return stage.unavailable[need]
    return ""


async def _instrument(stage: Harness) -> Instrument:
    for one in await stage.adapter.instruments(stage.spec):
        if one.symbol == stage.symbol:
            return one
    raise CheckFailed(f"the instruments do not have {stage.symbol}")


@contextlib.asynccontextmanager
async def same_harness(stage: Harness) -> AsyncIterator[Harness]:
    """Open the same stage for each check: an account that there is one of."""
    yield stage
