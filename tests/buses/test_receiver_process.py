"""The process that receives from buses, killed around its commit."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from django.conf import settings
from django.db import connection

from buses.incoming.intake import request_replay
from buses.incoming.models import BusLane, BusMessage, MessageState
from buses.incoming.routes import add_route
from buses.receiver import configured
from buses.sinks import SinkMisconfigured
from common.permissions import Role
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed, Signal
from tests.buses.engines import NatsServer
from tests.buses.test_incoming_signals import SUBJECT, body
from tests.roles import staff
from tests.until import until

ROOT = Path(__file__).parents[2]


class Process:
    """`manage.py bus_receiver` on the test's database."""

    def __init__(self, url: str, log: Path, **more: str) -> None:
        ours = connection.settings_dict
        login = f"{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}"
        environ = {
            **os.environ,
            "DATABASE_URL": f"postgresql://{login}/{ours['NAME']}",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "FILLCAST_DB_ROLE": "trade",
            "FILLCAST_INSTALLATION_TAG": settings.FILLCAST_INSTALLATION_TAG,
            "FILLCAST_BUSES": f"from+{url}",
            **more,
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "bus_receiver"],
                env=environ, cwd=ROOT, stdout=output, stderr=output,
            )  # fmt: skip
        self._log = log

    def wait_ended(self) -> int:
        """Return its exit code once it has ended."""
        until(lambda: self.process.poll() is not None, seen=lambda: self._log.read_text()[-2000:])
        return self.process.returncode

    def stop(self) -> int:
        """Stop it as the stack does."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_ended()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    running = NatsServer(tmp_path)
    running.start()
    yield running
    running.kill()


def on_bus(server: NatsServer, work: Any) -> Any:
    async def run() -> Any:
        opened = await nats.connect(server.url)
        try:
            return await work(opened.jetstream())
        finally:
            await opened.close()

    return asyncio.run(run())


def send(server: NatsServer, subject: str, data: bytes) -> None:
    on_bus(server, lambda stream: stream.publish(subject, data))


def make_consumer(server: NatsServer) -> None:
    """Make stream and consumer as the process does, with a shorter wait for an answer."""

    async def make(jetstream: Any) -> None:
        await jetstream.add_stream(name="IN", subjects=["signals.approved.>", "mt5.fills.*"])
        config = nats.js.api.ConsumerConfig(
            durable_name=f"fillcast-{settings.FILLCAST_INSTALLATION_TAG}-signals",
            filter_subject="signals.approved.>", ack_wait=2, max_deliver=-1,
        )  # fmt: skip
        await jetstream.add_consumer("IN", config)

    on_bus(server, make)


def unanswered(server: NatsServer) -> int:
    name = f"fillcast-{settings.FILLCAST_INSTALLATION_TAG}-signals"
    found = on_bus(server, lambda stream: stream.consumer_info("IN", name))
    return int(found.num_pending + found.num_ack_pending)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", ["bus.published", "bus.committed"])
def test_receiver_killed_around_its_commit_publishes_once(
    server: NatsServer, alice: ExecutionConnection, feed: Feed, tmp_path: Path, point: str
) -> None:
    add_route(SUBJECT, feed=feed, by=staff(Role.OPERATOR, name="olga"))
    make_consumer(server)
    log = tmp_path / "process.log"
    first = Process(server.url, log, FILLCAST_REHEARSAL=f"failpoints={point}:kill:1")
    send(server, SUBJECT, body())
    assert first.wait_ended() == -signal.SIGKILL
    assert Signal.objects.count() == (0 if point == "bus.published" else 1)
    assert unanswered(server) == 1
    second = Process(server.url, log)
    until(lambda: unanswered(server) == 0, seen=lambda: log.read_text()[-2000:])
    assert BusMessage.objects.get().state == MessageState.DONE
    assert Order.objects.count() == 1
    assert second.stop() == 0


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_receiver_waits_for_the_bus_and_replays_what_staff_request(
    server: NatsServer, alice: ExecutionConnection, feed: Feed, tmp_path: Path
) -> None:
    operator, log = staff(Role.OPERATOR, name="olga"), tmp_path / "process.log"
    make_consumer(server)
    server.kill()
    process = Process(server.url, log)
    until(lambda: "bus is away" in log.read_text(), seen=lambda: log.read_text()[-2000:])
    until(lambda: BusLane.objects.filter(failures__gt=0).exclude(last_error="").count() == 2)
    assert not BusLane.objects.exclude(polled_at=None).exists()
    server.start()
    send(server, SUBJECT, body())
    until(lambda: BusMessage.objects.dead().exists(), seen=lambda: log.read_text()[-2000:])
    add_route(SUBJECT, feed=feed, by=operator)
    request_replay(BusMessage.objects.get().pk, by=operator)
    until(lambda: Order.objects.exists(), seen=lambda: log.read_text()[-2000:])
    until(lambda: BusLane.objects.filter(failures=0).exclude(polled_at=None).count() == 2)
    assert BusMessage.objects.get().state == MessageState.DONE
    assert process.stop() == 0


def test_bus_named_twice_is_refused(settings: Any) -> None:
    settings.INCOMING_BUSES = ("nats://a@h/S", "nats://b@h/S")
    with pytest.raises(SinkMisconfigured, match=r"names from\+nats://h/S twice"):
        configured()
