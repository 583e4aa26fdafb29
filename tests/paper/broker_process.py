"""The paper broker in a separate process on the test's database, and a client of it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, TypeVar

from django.db import connection

from brokers.base import BrokerError, Guard, Outcome
from brokers.paper.models import PaperOrder
from brokers.types import ConnectionSpec, OrderRequest, Quote
from common.clocks import market_now
from tests.fakes.paper_server.adapter import RemotePaper
from tests.fakes.paper_server.sync_client import SyncClient
from tests.paper.factories import order
from tests.until import until

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


class BrokerProcess:
    """Runs `tests/fakes/paper_server`. After `kill`, `start` uses the same port."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def start(self) -> Self:
        settings = connection.settings_dict
        url = (
            f"postgresql://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT']}"
            f"/{settings['NAME']}"
        )
        log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.paper_server", "--faults",
                 "--port", str(self.port)],
                env={**os.environ, "DATABASE_URL": url}, cwd=ROOT, stdout=output, stderr=output,
            )  # fmt: skip

        def listens() -> bool:
            log = self._log.read_bytes()[log_start:].decode()
            assert self.process is not None
            assert self.process.poll() is None, log
            address = re.search(r"listens on 127\.0\.0\.1:(\d+)\n", log)
            self.port = int(address[1]) if address else self.port
            return address is not None

        until(listens)
        return self

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(60)

    @property
    def desk(self) -> SyncClient:
        """A client for callers without an event loop."""
        return SyncClient("127.0.0.1", self.port)

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call an operation of the exchange."""
        desk = self.desk
        try:
            return desk.call(name, *arguments)
        finally:
            desk.close()

    def open(self, *numbers: str, **terms: Any) -> None:
        """List instruments, open accounts, quote EUR/USD at 1.10."""
        self.ask("list_instruments")
        self.ask("open_accounts", list(numbers), Decimal(1_000_000), "", terms)
        self.ask("on_quotes", [Quote("EUR/USD", Decimal("1.1"), Decimal("1.1"), market_now())])


class Caller:
    """One client process, as the broker sees it: an adapter on its own event loop."""

    def __init__(self, port: int) -> None:
        self.adapter = RemotePaper("127.0.0.1", port)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def spec(self, number: str = "A1", reply_timeout: float = 30) -> ConnectionSpec:
        """reply_timeout: seconds to wait for an answer."""
        settings = {"reply_timeout": reply_timeout}
        return ConnectionSpec(connection_id=f"c-{number}", account=number, settings=settings)

    def place(
        self,
        *ids: str,
        number: str = "A1",
        guard: Guard = lambda _: None,
        reply_timeout: float = 30,
    ) -> dict[str, Outcome]:
        """Buy 1,000 EUR under each id, in one call; return the outcome of each."""
        outcomes: dict[str, Outcome] = {}

        def on_outcome(request: OrderRequest, outcome: Outcome) -> None:
            assert request.client_order_id not in outcomes, "reported twice"
            outcomes[request.client_order_id] = outcome

        orders = [
            (self.spec(number, reply_timeout), order(number, client_order_id))
            for client_order_id in ids
        ]
        self.run(self.adapter.submit_many(orders, guard, on_outcome))
        return outcomes


def kind(outcome: Outcome) -> str:
    """Return NotSent, Rejected, OutcomeUnknown, or the kind of the last report."""
    return type(outcome).__name__ if isinstance(outcome, BrokerError) else str(outcome[-1].kind)


def journal() -> list[str]:
    """Return the client order ids of all accepted orders, duplicates included."""
    accepted = PaperOrder.objects.filter(accepted_at__isnull=False)
    return sorted(accepted.values_list("client_order_id", flat=True))
