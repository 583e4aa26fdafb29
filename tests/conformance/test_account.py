"""The suite as on a real account, on every fake broker: a check closes what it opened.

`manage.py conformance` is this with a connection's own settings; its exits must fit every
`exit_safety`, and we have no real account of each broker.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from brokers.base import BrokerAdapter
from brokers.types import Instrument
from conformance.harness import Harness
from conformance.live_account import LiveAccount, choose_instrument
from conformance.report import line
from conformance.runner import Mark, OpenHarness, all_checks, run
from tests.conformance.stages import kinds, needs_database, stages_of
from tests.sampling import often
from tests.steady_loop import run as run_steadily

LEAVE_SOMETHING = ("C01", "C02", "C04", "C12", "C25", "C27", "C46", "C65", "C69", "C105", "C106")
WITH_DATABASE = pytest.mark.django_db(transaction=True)
EVERY_STAGE = [
    pytest.param(open_harness, id=name, marks=WITH_DATABASE if needs_database(kind) else ())
    for kind in kinds()
    for name, open_harness in stages_of(kind).items()
]
OFTEN = {"paper", "binance spot", "mt5-dwx"}  # as in test_adapters.py; that one has `ibkr`, too


def is_often(stage: Any) -> bool:
    return stage.id in OFTEN


class AccountOnFake(LiveAccount):
    """A real account's harness on a fake broker, whose harness simulates our restarts."""

    def __init__(self, harness: Harness, instruments: Sequence[Instrument]) -> None:
        self.harness = harness
        super().__init__(
            self._current, harness.spec, choose_instrument(instruments, harness.symbol)
        )

    def _current(self) -> BrokerAdapter:
        return self.harness.adapter

    async def new_process(self) -> None:
        await self.harness.new_process()
        self.adapter = self.harness.adapter


@pytest.mark.slow
@pytest.mark.parametrize(
    "open_harness", often(EVERY_STAGE, every=len(EVERY_STAGE), always=is_often)
)
def test_checks_close_what_they_opened(open_harness: OpenHarness) -> None:
    run_steadily(_run_checks(open_harness))


async def _run_checks(open_harness: OpenHarness) -> None:
    async with open_harness() as harness:
        account = AccountOnFake(harness, await harness.adapter.instruments(harness.spec))
        account.quantity, account.tick = harness.quantity, harness.tick
        for check in all_checks():
            if check.number in LEAVE_SOMETHING:
                [result] = await run([check], account.ready)
                assert result.mark is not Mark.FAIL, line(result)
                assert await account.opened() == [], result.number
        assert account.left == ""
