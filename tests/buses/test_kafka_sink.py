"""Events to brokers that speak Kafka's protocol (`tests/buses/kafka_cluster.py`)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
import pytest

from buses.catalogue import CATALOGUE, type_of
from buses.examples import example_of
from buses.kafka import sink as kafka_sink
from buses.kafka.sink import open_sink
from buses.sinks import SinkMisconfigured, SinkRefused, SinkUnavailable
from tests.buses.events import event, is_written
from tests.ports import closed_port
from tests.until import until


class Cluster:
    """Mock brokers in a process of their own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.buses.kafka_cluster"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.brokers = self.process.stdout.readline().strip()

    def url(self, topic: str) -> str:
        first, *others = self.brokers.split(",")
        return f"kafka://{first}/{topic}?" + "&".join(f"broker={one}" for one in others)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    running = Cluster()
    yield running
    running.stop()


def messages(cluster: Cluster, topic: str, count: int) -> list[Any]:
    """Return the first messages of a topic."""
    consumer = kafka.Consumer(
        {
            "bootstrap.servers": cluster.brokers,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.assign([kafka.TopicPartition(topic, number, 0) for number in range(4)])
    found: list[Any] = []

    def has_all() -> bool:
        found.extend(one for one in consumer.consume(500, 0.5) if not one.error())
        return len(found) >= count

    until(has_all)
    consumer.close()
    return found


def test_events_of_an_account_are_archived_in_order(cluster: Cluster) -> None:
    sink = open_sink(cluster.url("in-order"))
    events = [event(number, account=f"account-{number % 5}") for number in range(300)]
    sink.write(events)
    found = messages(cluster, "in-order", 300)
    by_account: dict[bytes, list[int]] = {}
    for message in found:
        body = json.loads(message.value())
        by_account.setdefault(message.key(), []).append(body["data"]["order_id"])
        assert dict(message.headers())["ce_id"].decode() == body["id"]
    assert len(found) == 300
    assert by_account == {
        f"account-{rest}".encode(): [n for n in range(300) if n % 5 == rest] for rest in range(5)
    }
    sink.close()


def test_every_kind_of_the_catalogue_is_archived(cluster: Cluster) -> None:
    sink = open_sink(cluster.url("kinds"))
    sink.write([example_of(kind) for kind in CATALOGUE])
    found = messages(cluster, "kinds", len(CATALOGUE))
    types = {json.loads(message.value())["type"] for message in found}
    assert types == {type_of(kind) for kind in CATALOGUE}
    sink.close()


def test_event_too_large_is_refused_and_others_archived(cluster: Cluster) -> None:
    sink = open_sink(cluster.url("large"))
    with pytest.raises(SinkRefused) as refused:
        sink.write([event(1), event(2, detail="x" * 10_000_000), event(3)])
    assert refused.value.envelope_id == "log-2"
    assert len(messages(cluster, "large", 2)) == 2
    sink.close()


def test_absent_broker_is_unavailable_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_sink, "WRITE_SECONDS", 0.5)
    with closed_port() as port:
        sink = open_sink(f"kafka://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable, match="timed out"):
            sink.write([event(1)])
        sink.close()
        sink.close()


def test_silent_brokers_are_unavailable_and_then_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_sink, "WRITE_SECONDS", 1.0)
    running = Cluster()
    sink = open_sink(running.url("silent"))
    running.process.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{running.process.pid}/stat")
    until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    with pytest.raises(SinkUnavailable):
        sink.write([event(1)])
    running.process.send_signal(signal.SIGCONT)

    until(lambda: is_written(sink, 1))
    assert json.loads(messages(running, "silent", 1)[0].value())["id"] == "log-1"
    sink.close()
    running.stop()


def test_killed_brokers_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_sink, "WRITE_SECONDS", 1.0)
    running = Cluster()
    sink = open_sink(running.url("killed"))
    until(lambda: is_written(sink, 1))
    running.stop()
    with pytest.raises(SinkUnavailable):
        sink.write([event(2)])
    sink.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("kafka://", "names no broker"),
        ("kafka://h?acks=0", "not acks"),
        ("kafka://u:secret@h?sasl=UNHEARD", "Unsupported SASL mechanism"),
        ("kafka://h?tls=yes&ca=/nowhere/ca.pem", "no file /nowhere/ca.pem"),
    ],
)
def test_wrong_url_says_what_to_change(url: str, message: str) -> None:
    with pytest.raises(SinkMisconfigured, match=message) as wrong:
        open_sink(url)
    assert "secret" not in str(wrong.value)


def test_name_of_sink_has_no_password() -> None:
    assert open_sink("kafka://me:secret@bus/t").name == "kafka://bus/t"
