"""Faults in trailing stops that a broker holds itself: a check fails because of each."""

import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from conformance.harness import Harness
from conformance.runner import Mark
from tests.conformance import faulty_adapters, faulty_reads
from tests.conformance.stages import stages_of
from tests.conformance.stages.ibkr import IbkrStage
from tests.conformance.test_faulty_adapters import _result, _wrap


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
