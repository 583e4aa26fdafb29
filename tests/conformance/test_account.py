"""The suite as on a real account, over every adapter's double: what a check opened it also closes.

`manage.py conformance` is this with a connection's own settings; its exits must fit every
`exit_safety`, and no real account of each kind is at hand.
"""

import asyncio
from collections.abc import Sequence

import pytest

from brokers.base import BrokerAdapter
from brokers.types import Instrument
from conformance.harness import Harness
from conformance.live_account import LiveAccount, choose_instrument
from conformance.report import line
from conformance.runner import Mark, OpenHarness, cases, run
from tests.conformance.stages import kinds, needs_database, stages_of

LEAVE_SOMETHING = ("C01", "C02", "C04", "C12", "C25", "C27", "C46", "C65", "C69", "C105", "C106")
WITH_DATABASE = pytest.mark.django_db(transaction=True)
EVERY = [
    pytest.param(opened, id=name, marks=WITH_DATABASE if needs_database(kind) else ())
    for kind in kinds()
    for name, opened in stages_of(kind).items()
]


class OnADouble(LiveAccount):
    """A real account's stage, where a new process of ours is what the double's stage makes."""

    def __init__(self, stage: Harness, listed: Sequence[Instrument]) -> None:
        self.under = stage
        super().__init__(self._current, stage.spec, choose_instrument(listed, stage.symbol))

    def _current(self) -> BrokerAdapter:
        return self.under.adapter

    async def new_process(self) -> None:
        await self.under.new_process()
        self.adapter = self.under.adapter


@pytest.mark.slow
@pytest.mark.parametrize("opened", EVERY)
def test_what_was_opened_is_closed(opened: OpenHarness) -> None:
    asyncio.run(_play(opened))


async def _play(opened: OpenHarness) -> None:
    async with opened() as stage:
        account = OnADouble(stage, await stage.adapter.instruments(stage.spec))
        account.quantity, account.tick = stage.quantity, stage.tick
        for one in cases():
            if one.number in LEAVE_SOMETHING:
                [result] = await run([one], account.ready)
                assert result.mark is not Mark.FAIL, line(result)
                assert await account.opened() == [], result.number
        assert account.left == ""
