"""One TCP connection to the paper broker's process serves all accounts."""

import asyncio
from dataclasses import replace

import pytest

from tests.conformance.stages.paper import PaperStage, opening

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]  # another process commits


def test_all_accounts_of_a_process_share_one_connection() -> None:
    async def read_accounts() -> int:
        async with opening(by_tcp=True)() as stage:
            assert isinstance(stage, PaperStage)
            assert stage.host is not None
            specs = [stage.spec, await stage.second_account()]
            specs.append(replace(stage.spec, connection_id="c-again"))
            for _ in range(3):
                await asyncio.gather(*(stage.adapter.account(spec) for spec in specs * 2))
            return stage.host.connection_count

    assert asyncio.run(read_accounts()) == 1
