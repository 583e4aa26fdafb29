"""Celery's queues in RabbitMQ: a real server of the installed package, which the tests kill."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from ops.embedded.processes import wait_until
from tests.faults.environment import ACCOUNTS, FaultEnvironment, end_reused
from tests.faults.process_fleet import Process
from tests.faults.rabbitmq import RabbitMqServer, is_installed
from tests.faults.servers import Servers, manage
from tests.faults.test_entries import all_ended
from tests.server_folders import server_folder

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not is_installed(), reason="needs the package rabbitmq-server"),
]
BUNDLES = ACCOUNTS // 50  # the fleet's execution.bundle_size


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMqServer]:
    with server_folder("fillcast-rabbitmq-") as folder:
        server = RabbitMqServer(folder / "rabbitmq")
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def environment(
    rabbitmq: RabbitMqServer, servers: Servers, tmp_path: Path
) -> Iterator[FaultEnvironment]:
    if not rabbitmq.runs:
        rabbitmq.start()
    with FaultEnvironment(servers, tmp_path, {"FILLCAST_QUEUE_URL": rabbitmq.url}) as environment:
        yield environment
    end_reused(servers)  # the operator's process may have this address, too


def consumers(rabbitmq: RabbitMqServer, queue: str) -> int:
    """Return how many workers take messages from a queue."""
    with amqp.Connection(rabbitmq.host, connect_timeout=1) as connection:
        try:
            declared: Any = connection.channel().queue_declare(queue, passive=True)
            return int(declared.consumer_count)
        except amqp.NotFound:
            return 0


def executed(worker: Process) -> int:
    """Return how many messages about orders a worker has taken."""
    return worker.output().count("Task ExecuteSignal")


def test_messages_start_the_orders_of_a_signal(environment: FaultEnvironment) -> None:
    worker = environment.fleet.worker()
    environment.quote()
    operator = environment.fleet.operator()
    assert len(operator.do("publish", feed=ACCOUNTS)) == 1
    environment.settle()
    all_ended(environment, ACCOUNTS, absent_at_most=0)
    assert executed(worker) >= BUNDLES, worker.output()
    assert environment.servers.redis_client().keys("execution*") == []


def test_killed_rabbitmq_loses_and_doubles_nothing(
    environment: FaultEnvironment, rabbitmq: RabbitMqServer
) -> None:
    worker = environment.fleet.worker()
    environment.quote()
    operator = environment.fleet.operator()
    rabbitmq.kill()
    before = executed(worker)
    assert len(operator.do("publish", feed=ACCOUNTS)) == 1  # without its messages
    environment.settle()
    all_ended(environment, ACCOUNTS, absent_at_most=0)
    assert executed(worker) == before


def test_worker_takes_messages_again_once_rabbitmq_is_back(
    environment: FaultEnvironment, rabbitmq: RabbitMqServer
) -> None:
    worker = environment.fleet.worker()
    environment.quote()
    operator = environment.fleet.operator()
    rabbitmq.kill()
    rabbitmq.start()
    assert wait_until(lambda: consumers(rabbitmq, "execution") == 1, 60), worker.output()[-2000:]
    before = executed(worker)
    assert len(operator.do("publish", feed=ACCOUNTS)) == 1
    environment.settle()
    all_ended(environment, ACCOUNTS, absent_at_most=0)
    assert executed(worker) >= before + BUNDLES


# Orders 1 to 4: of the classes LOW and HIGH, an exit, of the class NORMAL.
SEND = """
from common.process.message_queues import lengths
from execution.tasks import MESSAGE_PRIORITIES, enqueue
classes = {value: priority for priority, value in MESSAGE_PRIORITIES.items()}
priorities = {1: classes[9], 2: classes[3], 4: classes[6]}
enqueue([1, 2, 3, 4], lanes=dict.fromkeys([1, 2, 3, 4], "lane"), priorities=priorities)
print(lengths(["lane", "never declared"]))
"""


ASK = """
from kombu.exceptions import OperationalError
from common.process.message_queues import lengths
try:
    print(lengths(["execution"]))
except OperationalError as error:
    print("OperationalError", str(error).partition("ACCESS")[1] + str(error).partition("ACCESS")[2])
"""


def test_exits_come_before_entries_and_these_follow_their_class(
    environment: FaultEnvironment, rabbitmq: RabbitMqServer
) -> None:
    sent = manage(environment.fleet.environ, ["shell", "--no-imports", "-c", SEND])
    assert sent.stdout.strip() == "{'lane': 4, 'never declared': 0}", sent.stderr
    with amqp.Connection(rabbitmq.host, connect_timeout=1) as connection:
        channel = connection.channel()
        messages: list[Any] = [channel.basic_get("lane", no_ack=True) for _ in range(4)]
    assert [json.loads(message.body)[0] for message in messages] == [[[3]], [[2]], [[4]], [[1]]]


def test_refused_password_is_no_answer(
    environment: FaultEnvironment, rabbitmq: RabbitMqServer
) -> None:
    environ = {
        **environment.fleet.environ,
        "FILLCAST_QUEUE_URL": rabbitmq.url.replace("guest:guest", "guest:wrong"),
    }
    asked = manage(environ, ["shell", "--no-imports", "-c", ASK])
    assert asked.stdout.startswith("OperationalError ACCESS_REFUSED"), asked.stderr
    doctor = manage(environ, ["doctor"])
    assert "rabbitmq" in doctor.stdout
    assert "Start RabbitMQ and check FILLCAST_QUEUE_URL" in doctor.stdout
