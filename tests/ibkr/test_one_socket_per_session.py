"""One socket a session, whatever is asked and sent over it at once."""

import asyncio

from tests.ibkr.factories import Environment, limit, with_environment


@with_environment
async def test_a_session_has_one_socket_for_its_orders_and_reads(stage: Environment) -> None:
    names = [f"abc0000000000000{number}" for number in range(1, 6)]
    sent = (stage.submit(limit(name)) for name in names)
    reads = (stage.adapter.positions(stage.spec) for _ in range(3))
    await asyncio.gather(*sent, *reads, stage.adapter.account(stage.spec))
    assert [len(stage.tws.sessions), len(stage.tws.connects)] == [1, 1]
    assert sorted(stage.venue.accepted) == names
