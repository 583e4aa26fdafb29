"""An account's page states, for its owner, whether its order stream delivers."""

from datetime import timedelta

import pytest

from common.clocks import market_now
from execution.models import AccountSyncState, WorkerLease
from tests.connections import make
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["", "live/"])
@pytest.mark.parametrize(("seconds", "expected"), [(60, "at once"), (-1, "every 2 s")])
def test_page_of_an_account_states_whether_its_stream_delivers(
    world: World, signed_in: SignedIn, path: str, seconds: int, expected: str
) -> None:
    """Of a process that lives; with row-level security, which shows tenants no process."""
    account = make.connection(
        world.alice, type="crypto", account="main", exchange_name="binance",
        settings={"market": "spot", "symbols": ["BTC/USDT"], "update_interval_seconds": 2},
    )  # fmt: skip
    now = market_now()
    WorkerLease.objects.create(
        id="w", role="execution", host="h", pid=1, lease_until=now + timedelta(seconds=seconds)
    )
    AccountSyncState.objects.update_or_create(
        pk=account.pk, defaults={"stream_holder": "w", "stream_since": now}
    )
    client = as_web_process(signed_in(world.alice))
    response = client.get(f"/accounts/{account.pk}/{path}")
    assert response.status_code == 200
    shown = response.content.decode()
    assert f'<dd class="fc-big">{expected}</dd>' in shown
