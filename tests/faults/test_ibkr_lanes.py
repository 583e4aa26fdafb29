"""Interactive Brokers in a real session worker: ib_async's client against the fake TWS.

The fake outlives our processes and remembers the orders that it accepted.
"""

import json
import statistics
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from common.operational.source import VARIABLE, with_settings
from tests.fakes.tws.server_process import TwsProcess
from tests.faults.environment import FaultEnvironment
from tests.faults.process_fleet import FAST, wait_until
from tests.faults.servers import Servers

pytestmark = [pytest.mark.faults]
ACCOUNT, LANE = "DU1234567", "sessions.0"
MINE = "SELECT id FROM connections_executionconnection WHERE type = 'ibkr'"
ONE_OF_THEM = """
UPDATE connections_executionconnection SET type = 'ibkr', account = %s, settings = %s,
  lane = %s, instrument_book = '' WHERE id = (
    SELECT s.connection_id FROM connections_subscription s JOIN signals_feed f ON f.id = s.feed_id
    WHERE f.slug = 'bench-50' ORDER BY s.id LIMIT 1)
RETURNING id
"""
UNTESTED = """
UPDATE connections_connectionhealth SET status = 'UNTESTED', reconciled_at = NULL,
  test_requested_at = clock_timestamp() WHERE connection_id = %s
"""
SIZED = """
UPDATE connections_tradingpreset SET sizing_mode = 'FIXED', fixed_quantity = 20000,
  max_quantity = NULL WHERE id = (
    SELECT preset_id FROM connections_executionconnection WHERE type = 'ibkr')
"""


@pytest.fixture
def tws(tmp_path: Path) -> Iterator[TwsProcess]:
    fake = TwsProcess(tmp_path / "tws.jsonl", ACCOUNT)
    try:
        fake.do("quote", "EURUSD", "1.09990", "1.10000")
        yield fake
    finally:
        fake.close()


HEALTH = f"SELECT * FROM connections_connectionhealth WHERE connection_id = ({MINE})"
ORDERS = f"SELECT * FROM execution_order WHERE connection_id = ({MINE}) ORDER BY id"
SOON_SECONDS = 0.1


def compared(environment: FaultEnvironment) -> None:
    """Wait until the account has passed its test and is reconciled, so that it may trade."""
    environment.wait(
        lambda: environment.ours.rows(HEALTH)[0].reconciled_at, "not tested and compared", 60
    )


@pytest.fixture
def environment(servers: Servers, tmp_path: Path, tws: TwsProcess) -> Iterator[FaultEnvironment]:
    """Return an environment in which one account of the smallest feed is at the gateway."""
    with FaultEnvironment(
        servers,
        tmp_path,
        {VARIABLE: with_settings(FAST[VARIABLE], {"networks.broker_networks": ["127.0.0.1/32"]})},
    ) as started:
        settings = {"host": "127.0.0.1", "port": tws.port, "symbols": ["EURUSD"], "timezone": "UTC"}
        [row] = started.ours.rows(ONE_OF_THEM, ACCOUNT, json.dumps(settings), LANE)
        started.ours.rows(UNTESTED, row.id)
        started.ours.rows(
            "DELETE FROM connections_accountsnapshot WHERE connection_id = %s", row.id
        )
        started.ours.rows(SIZED)
        yield started


def test_gateway_account_continues_in_next_session_worker(
    environment: FaultEnvironment, tws: TwsProcess
) -> None:
    environment.fleet.worker("general", "execution,exits,maintenance", wait=False)
    first = environment.fleet.worker("first", "sessions", threads=2)
    compared(environment)
    assert len(tws.state()["clients"]) == 1
    environment.quote()
    environment.operator.do("publish", feed=50)
    environment.wait(
        lambda: environment.ours.rows(ORDERS)[0].status == "FILLED",
        str(environment.ours.rows(ORDERS)),
    )
    entry = environment.ours.rows(ORDERS)[0]
    assert tws.state()["accepted"].count(entry.client_order_id) == 1
    client = tws.state()["clients"]
    first.kill()
    second = environment.fleet.worker("second", "sessions", threads=2)
    taken = "SELECT acquired_at FROM connections_lanelease WHERE owner = (SELECT id FROM"
    taken += f" execution_workerlease WHERE pid = {second.pid})"

    def compared_since() -> bool:
        [since], at = (
            environment.ours.rows(taken) or [None],
            environment.ours.rows(HEALTH)[0].reconciled_at,
        )
        return bool(since and at and at > since.acquired_at)

    environment.wait(compared_since, "not compared by the next", 60)
    assert tws.state()["clients"] == client  # the same id, so it may cancel orders of the first
    opening = environment.ours.value("SELECT min(id) FROM signals_signal")
    environment.operator.do("publish", action="CLOSE", refers_to=opening)
    flat = "SELECT count(*) FROM positions_executionposition WHERE quantity > 0"
    flat += f" AND connection_id = ({MINE})"
    environment.wait(
        lambda: environment.ours.value(flat) == 0, str(environment.ours.rows(ORDERS)), 60
    )
    state = tws.state()
    assert set(state["positions"].values()) <= {"0", 0, "0.0"}
    ours = [row.client_order_id for row in environment.ours.rows(ORDERS)]
    assert [state["accepted"].count(order_id) for order_id in ours] == [1] * len(ours)
    assert second.end() == 0
    assert tws.until(lambda state: not state["clients"])


def test_gateway_report_is_stored_within_100_ms(
    environment: FaultEnvironment, tws: TwsProcess
) -> None:
    """From the broker's message to the commit of apply_reports, through a real session worker."""
    environment.fleet.worker("maintenance", "maintenance", wait=False)
    environment.fleet.worker("sessions", "sessions", threads=2)
    compared(environment)
    environment.quote()
    environment.operator.do(
        "publish", feed=50, count=4, order_type="LIMIT", open_price="1.05", sl="1.04"
    )
    environment.wait(
        lambda: [row.status for row in environment.ours.rows(ORDERS)] == ["SUBMITTED"] * 4,
        "not resting",
    )
    took = []
    for order in environment.ours.rows(ORDERS):
        tws.do("fill", order.client_order_id, str(order.quantity), "1.05")
        filled = f"SELECT status = 'FILLED' FROM execution_order WHERE id = {order.id}"
        took.append(wait_until(partial(environment.ours.value, filled), 10, "not received"))
    median = statistics.median(took)
    print(f"from TWS to the row: median {1000 * median:.0f} ms, longest {1000 * max(took):.0f} ms")
    assert median < SOON_SECONDS


OWN_PRICES = """
WITH made AS (
  INSERT INTO connections_dataconnection
    (name, kind, settings, is_active, created_at, user_id, broker_connection_id)
  SELECT 'own', 'broker', '{}', true, now(), coalesce(user_id, admin_id), id
  FROM connections_executionconnection WHERE type = 'ibkr' RETURNING id)
UPDATE connections_executionconnection c SET data_connection_id = made.id
FROM made WHERE type = 'ibkr' RETURNING made.id
"""
BID = "SELECT max(bid) FROM prices_latestquote WHERE data_connection_id = %s"


def test_gateway_prices_continue_with_next_session_worker(
    environment: FaultEnvironment, tws: TwsProcess
) -> None:
    """The account is its own price source: the lane's owner uses TWS's prices for entries."""
    environment.fleet.worker("general", "execution,exits,maintenance", wait=False)
    first = environment.fleet.worker("first", "sessions", threads=2)
    compared(environment)
    [own] = environment.ours.rows(OWN_PRICES)
    environment.wait(lambda: environment.ours.value(BID, own.id), "no price came", 60)
    first.kill()
    tws.do("quote", "EURUSD", "1.09980", "1.09985")
    environment.fleet.worker("second", "sessions", threads=2)
    environment.wait(
        lambda: environment.ours.value(BID, own.id) == Decimal("1.0998"), "prices ended", 90
    )
    compared(environment)
    environment.operator.do("publish", feed=50)
    filled = "SELECT count(*) FROM execution_order WHERE status = 'FILLED'"
    filled += f" AND connection_id = ({MINE}) AND expected_price = 1.09985"
    environment.wait(
        lambda: environment.ours.value(filled) == 1, str(environment.ours.rows(ORDERS)), 60
    )
