"""Events to a real NATS server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import pytest

from buses.catalogue import CATALOGUE
from buses.examples import example_of
from buses.nats import sink as nats_sink
from buses.nats.sink import NatsSink, open_sink
from buses.sinks import SinkMisconfigured, SinkRefused, SinkUnavailable
from tests.buses.engines import NatsServer
from tests.buses.events import event, is_written
from tests.until import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    running = NatsServer(tmp_path_factory.mktemp("nats"))
    running.start()
    yield running
    running.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that the test may disturb."""
    running = NatsServer(tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def sink(server: NatsServer, tmp_path: Path) -> Iterator[NatsSink]:
    """A sink with a stream and subjects of its own."""
    opened = open_sink(f"{server.url}/{tmp_path.name}?prefix={tmp_path.name}")
    yield opened
    opened.close()


def with_jetstream(server: NatsServer, work: Callable[[Any], Any]) -> Any:
    """Return what `work` returns of JetStream, on a connection of its own."""

    async def run() -> Any:
        connection = await nats.connect(server.url)
        try:
            return await work(connection.jetstream())
        finally:
            await connection.close()

    return asyncio.run(run())


def stored(server: NatsServer, stream: str) -> list[Any]:
    """Return the messages of a stream, in order."""

    async def read(jetstream: Any) -> list[Any]:
        count = (await jetstream.stream_info(stream)).state.messages
        return [await jetstream.get_msg(stream, number + 1) for number in range(count)]

    messages: list[Any] = with_jetstream(server, read)
    return messages


def test_events_are_stored_in_order_with_subjects(server: NatsServer, sink: NatsSink) -> None:
    name = sink.name.rpartition("/")[2]
    sink.write(
        [
            event(1, status="SUBMITTED"),
            event(2, symbol="BRK.B"),
            event(3, type="fillcast.fill.v1"),
            event(4, type="fillcast.position_closed.v1", symbol=None),
            event(5, type="fillcast.fanout_done.v1"),
        ]
    )
    messages = stored(server, name)
    assert [message.subject.removeprefix(f"{name}.") for message in messages] == [
        "orders.submitted.EURUSD",
        "orders.filled.BRK_B",
        "fills.EURUSD",
        "positions.closed._",
        "events.fanout_done",
    ]
    first = json.loads(messages[0].data)
    assert first == json.loads(event(1, status="SUBMITTED").to_json())
    assert messages[0].headers["Nats-Msg-Id"] == "/fillcast/tst/log-1"


def test_every_kind_of_the_catalogue_is_written(server: NatsServer, sink: NatsSink) -> None:
    # Examples may have the id of another one, which rows of ours never do.
    events = [replace(example_of(kind), id=kind.type) for kind in CATALOGUE]
    sink.write(events)
    messages = stored(server, sink.name.rpartition("/")[2])
    assert [json.loads(message.data)["type"] for message in messages] == [
        one.type for one in events
    ]


def test_batch_sent_twice_is_stored_once(server: NatsServer, sink: NatsSink) -> None:
    sink.write([event(1), event(2)])
    sink.write([event(1), event(2), event(3)])
    assert len(stored(server, sink.name.rpartition("/")[2])) == 3


def test_event_too_large_is_refused_and_others_kept(server: NatsServer, sink: NatsSink) -> None:
    large = event(2, detail="x" * 2_000_000)
    with pytest.raises(SinkRefused) as refused:
        sink.write([event(1), large, event(3)])
    assert refused.value.envelope_id == "log-2"
    sink.write([event(1), event(3)])
    assert len(stored(server, sink.name.rpartition("/")[2])) == 2


def test_full_stream_is_unavailable_until_room(server: NatsServer, sink: NatsSink) -> None:
    name = sink.name.rpartition("/")[2]

    async def make(jetstream: Any) -> None:
        await jetstream.add_stream(
            name=name, subjects=[f"{name}.>"], max_msgs=1, discard=nats.js.api.DiscardPolicy.NEW
        )

    async def purge(jetstream: Any) -> None:
        await jetstream.purge_stream(name)

    with_jetstream(server, make)
    sink.write([event(1)])
    with pytest.raises(SinkUnavailable):
        sink.write([event(2)])
    with_jetstream(server, purge)
    sink.write([event(2)])


def test_stream_without_the_subjects_says_what_to_add(server: NatsServer, sink: NatsSink) -> None:
    name = sink.name.rpartition("/")[2]

    async def make(jetstream: Any) -> None:
        await jetstream.add_stream(name=name, subjects=[f"{name}.other"])

    with_jetstream(server, make)
    with pytest.raises(SinkUnavailable, match=r"does not have all of the subjects .*orders\.>"):
        sink.write([event(1)])


def test_second_installation_without_prefix_is_refused(server: NatsServer, sink: NatsSink) -> None:
    sink.write([event(1)])
    prefix = sink.name.rpartition("/")[2]
    other = open_sink(f"{server.url}/{prefix}-other?prefix={prefix}")
    with pytest.raises(SinkUnavailable, match=r"set \?prefix= if another installation uses it"):
        other.write([event(1)])
    other.close()


def test_two_installations_with_one_url_share_the_stream(
    server: NatsServer, sink: NatsSink
) -> None:
    """With the same id: `source` keeps them apart, and only that."""
    sink.write([event(1)])
    sink.write([replace(event(1), source="/fillcast/two")])
    found = stored(server, sink.name.rpartition("/")[2])
    assert [json.loads(message.data)["source"] for message in found] == [
        "/fillcast/tst", "/fillcast/two",
    ]  # fmt: skip


def test_killed_server_is_unavailable_and_then_catches_up(tmp_path: Path) -> None:
    running = NatsServer(tmp_path)
    running.start()
    sink = open_sink(running.url)
    sink.write([event(1)])
    running.kill()
    with pytest.raises(SinkUnavailable):
        sink.write([event(2)])
    running.start()

    until(lambda: is_written(sink, 1, 2))
    assert len(stored(running, "FILLCAST")) == 2
    sink.close()
    running.kill()


def test_silent_server_is_unavailable_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_sink, "WRITE_SECONDS", 0.5)
    running = NatsServer(tmp_path)
    running.start()
    sink = open_sink(running.url)
    until(lambda: is_written(sink, 1))
    running.pause()
    with pytest.raises(SinkUnavailable):
        sink.write([event(2)])
    running.resume()
    until(lambda: is_written(sink, 2))  # it arrived before, perhaps: the same id
    assert len(stored(running, "FILLCAST")) == 2
    sink.close()
    running.kill()


def test_absent_server_is_unavailable() -> None:
    from tests.ports import closed_port

    with closed_port() as port:
        sink = open_sink(f"nats://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable):
            sink.write([event(1)])
        sink.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nats://", "names no host"),
        ("nats://h/a.b", "may have letters"),
        ("nats://h?prefix=a.>", "may have letters"),
        ("nats://h?prefx=a", "not prefx"),
    ],
)
def test_wrong_url_says_what_to_change(url: str, message: str) -> None:
    with pytest.raises(SinkMisconfigured, match=message):
        open_sink(url)


def test_name_of_sink_has_no_password() -> None:
    assert open_sink("nats://me:secret@bus.example/S").name == "nats://bus.example/S"


def test_sink_opens_again_after_the_server_closed_it_for_good(own_server: NatsServer) -> None:
    sinks = [open_sink(f"{own_server.url}/{name}?prefix={name}") for name in ("a", "b")]
    for number, sink in enumerate(sinks):
        sink.write([event(number)])
    own_server.set_most_connections(
        1
    )  # one of the two gets an -ERR, after which nats-py never returns
    until(lambda: not all(is_writing(sink, 7) for sink in sinks))
    own_server.set_most_connections(100)
    for sink in sinks:
        until(lambda sink=sink: is_writing(sink, 8))  # type: ignore[misc]
        sink.close()


def is_writing(sink: NatsSink, number: int) -> bool:
    try:
        sink.write([event(number)])
    except SinkUnavailable:
        return False
    return True
