"""A trading process with one IBKR account: `python -m benchmarks.ibkr_engine PORT N`.

A working order is executed N times at the fake TWS. The last printed line is JSON: the milliseconds
from each execution to its committed row, and the CPU time of one.
"""

import ipaddress
import json
import os
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import django
import psycopg

from tests.fakes.tws.server_process import ControlConnection

SECONDS = 60.0
POLL_SECONDS = 0.002
FILLED = "SELECT filled_quantity FROM execution_order WHERE client_order_id = %s"
PART = Decimal(100)


def until(condition: Callable[[], object], describe: Callable[[], object] = str) -> None:
    """Wait for a condition that the engine's own threads bring about.

    Raises TimeoutError, with what `describe` returns.
    """
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{condition}: {describe()}")
        time.sleep(0.01)


def main(port: int, count: int) -> dict[str, Any]:
    """Return the milliseconds of each execution, and the CPU milliseconds of one."""

    from common.clocks import market_now
    from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
    from connections.services import run_test
    from execution import startup
    from execution.models import Order
    from prices.models import LatestQuote
    from signals.models import Approval, Signal
    from signals.services import publish
    from tests.connections import make
    from tests.operational import set_setting

    set_setting("networks.broker_networks", (ipaddress.ip_network("127.0.0.0/8"),))
    control = ControlConnection(port)
    runtime = startup.start_trading("execution+sessions")
    make.continue_numbers()
    form = {"host": "127.0.0.1", "port": port, "symbols": ["EURUSD"], "timezone": "UTC"}
    preset = make.preset(
        sizing_mode="FIXED", fixed_quantity=PART * count, max_signal_age_seconds=600
    )
    connection = make.connection(
        type="ibkr", account="DU1234567", settings=form, sealed_credentials=None,
        preset=preset, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    feed, now = make.feed(), market_now()
    make.subscription(connection, feed)
    assert connection.data_connection_id is not None
    LatestQuote.objects.create(
        data_connection_id=connection.data_connection_id, symbol="EUR/USD", bid=Decimal("1.1"),
        ask=Decimal("1.1002"), time=now, received_at=now,
    )  # fmt: skip
    until(lambda: connection.lane in runtime.lanes.held())
    run_test(connection.pk)
    health = ConnectionHealth.objects.filter(connection=connection, reconciled_at__isnull=False)
    until(health.exists)

    signal = Signal.objects.create(
        feed=feed, currency_pair="EUR/USD", direction="BUY", order_type="LIMIT",
        open_price=Decimal("1.05"), sl=Decimal("1.00"), approval=Approval.APPROVED,
    )  # fmt: skip
    publish(signal.pk, by=None)
    order = Order.objects.filter(signal=signal, leg="entry")
    state = order.values("status", "reason", "detail")
    until(order.filter(status="SUBMITTED").exists, lambda: list(state))
    client_order_id = str(order.get().client_order_id)
    cpu = time.process_time()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        cursor = database.cursor()  # without Django, so that polling costs little
        took = [
            _commit_ms(control, client_order_id, cursor, PART * (done + 1)) for done in range(count)
        ]
    cpu = time.process_time() - cpu
    runtime.stop()
    # Another benchmark may connect an account of this number, at a gateway of its own.
    ExecutionConnection.objects.filter(pk=connection.pk).update(archived_at=market_now())
    return {"ms": took, "cpu_ms": 1000 * cpu / count}


def _commit_ms(
    control: ControlConnection, client_order_id: str, cursor: Any, expected: Decimal
) -> float:
    began = time.perf_counter()
    control.do("fill", client_order_id, str(PART), "1.05")
    while cursor.execute(FILLED, (client_order_id,)).fetchone()[0] < expected:
        time.sleep(POLL_SECONDS)  # leaves the interpreter to the engine's threads
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
