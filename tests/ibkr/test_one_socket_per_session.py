"""One socket per session, with concurrent reads and orders."""

import asyncio

from tests.ibkr.factories import Environment, limit, with_environment


@with_environment
async def test_session_uses_one_socket_for_orders_and_reads(stage: Environment) -> None:
    names = [f"abc0000000000000{number}" for number in range(1, 6)]
    sent = (stage.submit(limit(name)) for name in names)
    reads = (stage.adapter.positions(stage.spec) for _ in range(3))
    await asyncio.gather(*sent, *reads, stage.adapter.account(stage.spec))
    assert [len(stage.tws.sessions), len(stage.tws.connects)] == [1, 1]
    assert sorted(stage.venue.accepted) == names
