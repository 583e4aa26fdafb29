"""A trading process with one IBKR account: `python -m benchmarks.ibkr_engine PORT N`.

An order that rests is executed N times at the double of TWS; the last line that is printed has the
milliseconds from there to its committed row, each time, and the CPU of each.
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

from tests.fakes.tws.server_process import ControlLine

SECONDS = 60.0
POLL_SECONDS = 0.002
FILLED = "SELECT filled_quantity FROM execution_order WHERE client_order_id = %s"
PART = Decimal(100)


def until(is_so: Callable[[], object], instead: Callable[[], object] = str) -> None:
    """Wait for what the engine's own threads bring about. instead: what is so if it never comes."""
    end = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"{is_so}: {instead()}")
        time.sleep(0.01)


def main(port: int, n: int) -> dict[str, Any]:
    """Return the milliseconds of each execution, and what one costs this process."""
    from django.conf import settings

    from common.clocks import market_now
    from connections.models import ConnectionHealth, HealthStatus
    from connections.services import run_test
    from execution import startup
    from execution.models import Order
    from prices.models import LatestQuote
    from signals.models import Approval, Signal
    from signals.services import publish
    from tests.connections import make

    settings.FILLCAST_BROKER_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    control = ControlLine(port)
    present = startup.start_trading("execution+sessions")
    where = {"host": "127.0.0.1", "port": port, "symbols": ["EURUSD"], "timezone": "UTC"}
    preset = make.preset(sizing_mode="FIXED", fixed_quantity=PART * n, max_signal_age_seconds=600)
    row = make.connection(
        type="ibkr", account="DU1234567", settings=where, sealed_credentials=None,
        preset=preset, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    feed, now = make.feed(), market_now()
    make.subscription(row, feed)
    assert row.data_connection_id is not None
    LatestQuote.objects.create(
        data_connection_id=row.data_connection_id, symbol="EUR/USD", bid=Decimal("1.1"),
        ask=Decimal("1.1002"), time=now, received_at=now,
    )  # fmt: skip
    until(lambda: row.lane in present.lanes.held())
    run_test(row.pk)
    health = ConnectionHealth.objects.filter(connection=row, reconciled_at__isnull=False)
    until(health.exists)

    signal = Signal.objects.create(
        feed=feed, currency_pair="EUR/USD", direction="BUY", order_type="LIMIT",
        open_price=Decimal("1.05"), sl=Decimal("1.00"), approval=Approval.APPROVED,
    )  # fmt: skip
    publish(signal.pk, by=None)
    order = Order.objects.filter(signal=signal, leg="entry")
    told = order.values("status", "reason", "detail")
    until(order.filter(status="SUBMITTED").exists, lambda: list(told))
    name = str(order.get().client_order_id)
    cpu = time.process_time()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as line:
        cursor = line.cursor()  # a plain one: what looks is not what is measured
        took = [_heard(control, name, cursor, PART * (done + 1)) for done in range(n)]
    cpu = time.process_time() - cpu
    present.stop()
    return {"ms": took, "cpu_ms": 1000 * cpu / n}


def _heard(control: ControlLine, name: str, cursor: Any, wanted: Decimal) -> float:
    began = time.perf_counter()
    control.do("fill", name, str(PART), "1.05")
    while cursor.execute(FILLED, (name,)).fetchone()[0] < wanted:
        time.sleep(POLL_SECONDS)  # the engine's threads are in this process, too
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
