"""TWS's own count of order numbers may go back: it is behind what was sent, or was set back.

An order that is placed under the number of another one changes that one.
"""

from dataclasses import replace
from decimal import Decimal

from tests.ibkr.factories import Environment, limit, with_environment

FIRST, LOST = "abc00000000000001", "abc00000000000002"
LATER = [f"abc000000000001{number:02d}" for number in range(40)]


async def place_more(stage: Environment) -> None:
    """Place orders after a restart, since which TWS counts from 1."""
    stage.venue.last_order_ids.clear()
    await stage.tws.restart()
    await stage.wait_until(lambda: stage.session.usable and stage.tws.sessions)
    for name in LATER:
        request = replace(limit(), client_order_id=name, limit_price=Decimal("1.05"))
        await stage.submit(request)


@with_environment
async def test_new_order_never_gets_the_number_of_a_working_one(stage: Environment) -> None:
    for of_a_new_process in (False, True):
        await stage.submit(limit())
        before = replace(stage.venue.order(FIRST))
        if of_a_new_process:
            await stage.crash()
            await stage.adapter.connect(stage.spec)
        await place_more(stage)
        assert stage.venue.accepted == [FIRST, *LATER]
        now = stage.venue.order(FIRST)
        assert (now.limit, now.status, now.order_id) == (
            before.limit, before.status, before.order_id,
        )  # fmt: skip
        stage.venue.orders.clear()
        stage.venue.accepted.clear()
        stage.venue.last_order_ids.clear()
        await stage.crash()
        await stage.adapter.connect(stage.spec)


@with_environment
async def test_new_order_never_gets_the_number_of_one_that_was_lost_on_the_way(
    stage: Environment,
) -> None:
    """The lost one would be cancelled under a number that another order has."""
    await stage.submit(limit())
    stage.fault("ignore")
    lost = stage.start(stage.submit(replace(limit(), client_order_id=LOST)))
    await stage.wait_until(lambda: LOST in stage.venue.received)
    record = stage.session.order_cache.get("c1", LOST)
    assert record is not None
    await place_more(stage)
    numbers = [stage.venue.order(name).order_id for name in LATER]
    assert record.order_id not in numbers
    lost.cancel()
