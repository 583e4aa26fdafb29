"""A trading process with an account at each fake broker, and a Celery worker on one of its threads:
`python -m benchmarks.latency_engine N`.

For each account N limit entries are published, one after the other, the price is moved so that the
broker fills each, and the position is closed. The last printed line is JSON: for each account, the
milliseconds from each publication to its submission, from each move of the price to the committed
fill, and from each close to the submission of the exit, with what the broker is asked before it.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import django
import psycopg

if TYPE_CHECKING:
    from tests.conformance.engine.account import EngineAccount

# Broker types and stages of tests/conformance/stages. Those of a group are open at once; the
# package MetaTrader5 finds one terminal, by its process's environment.
GROUPS = (
    (("paper", "paper"), ("ibkr", "ibkr"), ("mt4", "mt4"), ("mt4", "mt5-dwx"),
     ("crypto", "binance spot"), ("crypto", "bybit perpetuals"), ("crypto", "okx perpetuals"),
     ("crypto", "kraken spot")),
    (("mt5", "mt5 hedging"),),
)  # fmt: skip
SECONDS = 30.0
LOOK_SECONDS = 0.002  # leaves the interpreter to the engine's threads
UNDER = -2  # thousandths of the price: where the entry waits
REACHED = -4
ENTRY = "SELECT id FROM execution_order WHERE signal_id = %s AND leg = 'entry'"
STATUS = "SELECT status, reason, detail FROM execution_order WHERE id = %s"
SUBMITTED = """
SELECT extract(epoch FROM o.submitted_at - s.published_at) FROM execution_order o
JOIN signals_signal s ON s.id = o.signal_id WHERE o.id = %s
"""
EXIT_SUBMITTED = """
SELECT extract(epoch FROM submitted_at - created_at) FROM execution_order WHERE id = %s
"""
POSITION = "SELECT id FROM positions_executionposition WHERE signal_id = %s"


def figures_of(count: int, group: Sequence[tuple[str, str]]) -> dict[str, Any]:
    from tests.conformance.engine.background import background_loop, opened
    from tests.conformance.engine.process import EngineProcess
    from tests.conformance.stages import stages_of

    stages = {name: stages_of(kind)[name] for kind, name in group}
    with background_loop() as loop, ExitStack() as stack:
        harnesses = {
            name: stack.enter_context(opened(open_harness, loop))
            for name, open_harness in stages.items()
        }
        engine = stack.enter_context(EngineProcess(harnesses, loop, poll_seconds=2))
        database = stack.enter_context(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True))
        stack.enter_context(worker([account.row.lane for account in engine.accounts.values()]))
        if engine.failed:
            raise RuntimeError(engine.failed)
        figures = {}
        for name, account in engine.accounts.items():
            print(name, file=sys.stderr)
            figures[name] = measured(account, database, count)
        return figures


@contextmanager
def worker(lanes: list[str]) -> Iterator[None]:
    """Run a Celery worker for entries, of all lanes, on a thread of this process."""
    from celery.contrib.testing.worker import start_worker

    from config.celery import app

    queues = sorted({"execution", "exits", *filter(None, lanes)})
    with start_worker(
        app, pool="threads", concurrency=4, perform_ping_check=False, queues=queues,
        shutdown_timeout=30,
    ) as controller:  # fmt: skip
        yield
    pool: Any = controller.pool
    pool.stop()  # Celery leaves its threads, and the engine's end waits for all threads


def measured(
    account: "EngineAccount", database: psycopg.Connection[Any], count: int
) -> dict[str, list[float]]:
    from execution.services import close_position
    from execution.tasks import EXITS, enqueue

    preset = account.row.preset
    assert preset is not None
    preset.fixed_quantity = max(account.instrument.quantity_min, account.quantity / count)
    preset.save()
    submit_ms, report_ms, exit_ms = [], [], []
    for _ in range(count):
        account.move(0)
        account.await_price(0)
        signal = account.publish(order_type="LIMIT", open_price=account.price(UNDER))
        entry_id = number(database, ENTRY, signal.pk)
        until(database, entry_id, "SUBMITTED")
        submit_ms.append(1000 * float(number(database, SUBMITTED, entry_id)))
        began = time.perf_counter()
        account.move(REACHED)
        until(database, entry_id, "FILLED")
        report_ms.append(1000 * (time.perf_counter() - began))
        account.await_price(REACHED)  # a fill may be committed before the price has come
        [exit_id] = close_position(number(database, POSITION, signal.pk))
        enqueue([exit_id], queue=EXITS)
        until(database, exit_id, "FILLED")
        exit_ms.append(1000 * float(number(database, EXIT_SUBMITTED, exit_id)))
    return {"submit_ms": submit_ms, "report_ms": report_ms, "exit_ms": exit_ms}


def number(database: psycopg.Connection[Any], sql: str, about: int) -> Any:
    [(value,)] = database.execute(sql, (about,)).fetchall()
    return value


def until(database: psycopg.Connection[Any], order_id: int, status: str) -> None:
    """Wait until an order has this status. Raises TimeoutError."""
    end = time.monotonic() + SECONDS
    while (found := database.execute(STATUS, (order_id,)).fetchone()) is None or found[0] != status:
        if time.monotonic() > end:
            raise TimeoutError(f"the order is {found}, not {status}")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from tests.connections import make

    make.continue_numbers()
    figures: dict[str, Any] = {}
    for group in GROUPS:
        figures |= figures_of(int(sys.argv[1]), group)
    print(json.dumps(figures))
