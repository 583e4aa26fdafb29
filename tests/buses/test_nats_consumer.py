"""Signals that come in by a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from buses.incoming.intake import Answer, Message, take
from buses.incoming.models import BusMessage
from buses.incoming.routes import add_route
from buses.nats import consumer
from buses.nats.consumer import NatsLane
from buses.sinks import SinkUnavailable
from common.permissions import Role
from common.reason_codes import Code
from execution.models import Order
from signals.models import Feed, Signal
from tests.buses.engines import NatsServer
from tests.buses.test_incoming_signals import SUBJECT, body
from tests.ports import closed_port
from tests.roles import staff
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
def prefix(tmp_path: Path) -> str:
    """Subjects and a stream of the test's own."""
    return tmp_path.name.replace("_", "-")


@pytest.fixture
def lane(server: NatsServer, prefix: str) -> Iterator[NatsLane]:
    opened = lane_of(server, prefix)
    opened.poll(never, seconds=0.05)  # the consumer begins to count
    yield opened
    opened.close()


class Remembered:
    """The cursor of a lane, in memory."""

    def __init__(self, **kept: str) -> None:
        self.kept = kept

    def read(self) -> dict[str, str]:
        return dict(self.kept)

    def store(self, kept: dict[str, str]) -> None:
        self.kept = kept


def lane_of(
    server: NatsServer,
    prefix: str,
    *,
    database: str = "7/one",
    cursor: Remembered | None = None,
    tag: str = "tst",
) -> NatsLane:
    url = f"{server.url}/{prefix}?prefix={prefix}"
    kept = cursor or Remembered()
    return NatsLane(url, "signals", tag=tag, database=database, cursor=kept)


def on_bus(server: NatsServer, work: Callable[[Any], Any]) -> Any:
    """Do something with JetStream; return what it returns."""

    async def run() -> Any:
        connection = await nats.connect(server.url)
        try:
            return await work(connection.jetstream())
        finally:
            await connection.close()

    return asyncio.run(run())


def edit(server: NatsServer, stream: str, **changes: Any) -> None:
    """Change a consumer as `nats consumer edit` does."""

    async def work(jetstream: Any) -> None:
        found = await jetstream.consumer_info(stream, "fillcast-tst-signals")
        await jetstream.add_consumer(stream, found.config.evolve(**changes))

    on_bus(server, work)


def never(message: Message) -> Answer:
    raise AssertionError(message)


def send(to: NatsServer | str, *messages: tuple[str, bytes, dict[str, str]]) -> None:
    """Publish messages: subject, body, headers. to: a server, or a URL with its login."""

    async def run() -> None:
        connection = await nats.connect(to if isinstance(to, str) else to.url)
        for subject, data, headers in messages:
            await connection.jetstream().publish(subject, data, headers=headers)
        await connection.close()

    asyncio.run(run())


def read(lane: NatsLane, count: int, answer: Callable[[Message], Answer]) -> list[Message]:
    """Poll until so many messages were answered; return them."""
    found: list[Message] = []

    def note(message: Message) -> Answer:
        found.append(message)
        return answer(message)

    until(lambda: len(found) >= count, meanwhile=lambda: lane.poll(note, seconds=0.5))
    return found


def nothing_more(lane: NatsLane) -> bool:
    return lane.poll(never, seconds=0.3) == 0


def acknowledge(_: Message) -> Answer:
    return Answer.ACK


def test_messages_come_in_order_with_their_ids(
    server: NatsServer, lane: NatsLane, prefix: str
) -> None:
    sent = [
        (f"{prefix}.signals.approved.gold", b"%d" % n, {"Nats-Msg-Id": f"m-{n}"}) for n in range(9)
    ]
    send(server, *sent, (f"{prefix}.signals.approved.fx.major", b"9", {}))
    found = read(lane, 10, acknowledge)
    assert [message.body for message in found] == [b"%d" % n for n in range(10)]
    assert [message.message_id for message in found[:9]] == [f"m-{n}" for n in range(9)]
    assert found[9].message_id.startswith("10@20")  # the bus's own
    assert found[9].subject == "signals.approved.fx.major"
    assert found[0].bus == f"{server.url}/{prefix}"
    assert lane.progress == (found[0].bus, f"{prefix}, message 10")
    assert nothing_more(lane)


def test_other_subjects_of_the_stream_are_not_read(server: NatsServer, prefix: str) -> None:
    async def make() -> None:
        connection = await nats.connect(server.url)
        await connection.jetstream().add_stream(name=prefix, subjects=[f"{prefix}.signals.>"])
        await connection.close()

    asyncio.run(make())
    lane = lane_of(server, prefix)
    assert nothing_more(lane)
    send(server, (f"{prefix}.signals.pending.gold", b"{}", {}))
    assert nothing_more(lane)
    lane.close()


def test_message_to_retry_comes_again_later(
    server: NatsServer, lane: NatsLane, prefix: str
) -> None:
    send(server, (f"{prefix}.signals.approved.gold", b"1", {}))
    answers = iter([Answer.RETRY, Answer.RETRY, Answer.ACK])
    found = read(lane, 3, lambda _: next(answers))
    assert len(found) == 3
    assert len({message.message_id for message in found}) == 1
    assert nothing_more(lane)


def test_unanswered_message_of_a_killed_process_comes_again(
    server: NatsServer, lane: NatsLane, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "REDELIVERY_SECONDS", 1.0)
    other = lane_of(server, f"{prefix}-2")
    other.poll(never, seconds=0.05)
    send(server, (f"{prefix}-2.signals.approved.gold", b"1", {}))

    class Killed(BaseException):
        """The process ends here."""

    def die(_: Message) -> Answer:
        raise Killed

    with pytest.raises(Killed):
        read(other, 1, die)
    other.close()
    again = lane_of(server, f"{prefix}-2")
    (found,) = read(again, 1, acknowledge)
    assert found.body == b"1"
    again.close()


def test_restarted_server_delivers_what_was_not_acknowledged(tmp_path: Path) -> None:
    running = NatsServer(tmp_path)
    running.start()
    lane = lane_of(running, "a")
    lane.poll(never, seconds=0.05)
    send(running, ("a.signals.approved.gold", b"1", {}))
    running.kill()
    with pytest.raises(SinkUnavailable):
        poll_for_ever(lane)  # until the client notices
    running.start()

    found: list[Message] = []

    def note(message: Message) -> Answer:
        found.append(message)
        return Answer.ACK

    def polled() -> bool:
        try:
            lane.poll(note, seconds=0.5)
        except SinkUnavailable:
            return False
        return bool(found)

    until(polled)
    assert found[0].body == b"1"
    lane.close()
    running.kill()


def test_lane_opens_again_after_the_server_closed_it_for_good(own_server: NatsServer) -> None:
    lanes = [lane_of(own_server, "a"), lane_of(own_server, "b")]
    for lane in lanes:
        lane.poll(never, seconds=0.05)
    own_server.set_most_connections(
        1
    )  # one of the two gets an -ERR, after which nats-py never returns
    until(lambda: any(not is_received(lane) for lane in lanes))
    own_server.set_most_connections(100)
    for lane, prefix in zip(lanes, "ab", strict=True):
        until(lambda lane=lane: is_received(lane))  # type: ignore[misc]
        send(own_server, (f"{prefix}.signals.approved.gold", b"1", {}))
        assert [found.body for found in read(lane, 1, acknowledge)] == [b"1"]
        lane.close()


def is_received(lane: NatsLane) -> bool:
    try:
        lane.poll(never, seconds=0.1)
    except SinkUnavailable:
        return False
    return True


def test_same_message_id_of_two_subjects_comes_twice(
    server: NatsServer, lane: NatsLane, prefix: str
) -> None:
    """But for the shortest time that a server has: a tenth of a second."""

    async def publish(name: str) -> bool:
        connection = await nats.connect(server.url)
        subject, headers = f"{prefix}.signals.approved.{name}", {"Nats-Msg-Id": "s-1"}
        answer = await connection.jetstream().publish(subject, b"1", headers=headers)
        await connection.close()
        return not answer.duplicate

    assert asyncio.run(publish("gold"))
    until(lambda: asyncio.run(publish("silver")), seconds=60)
    found = read(lane, 2, acknowledge)
    assert [one.message_id for one in found] == ["s-1", "s-1"]


def poll_for_ever(lane: NatsLane) -> None:
    while True:
        lane.poll(lambda _: Answer.RETRY, seconds=0.2)


def test_consumer_of_another_database_is_refused(
    server: NatsServer, lane: NatsLane, prefix: str
) -> None:
    second = lane_of(server, prefix, database="8/two")
    with pytest.raises(SinkUnavailable, match="belongs to another database with the same"):
        second.poll(never, seconds=0.1)
    second.close()


@pytest.mark.parametrize("database", ["/one", "7/one"])
def test_database_whose_server_is_hidden_is_known_by_its_name(
    server: NatsServer, prefix: str, database: str
) -> None:
    other = "7/one" if database == "/one" else "/one"
    for identity in (database, other):
        lane = lane_of(server, prefix, database=identity)
        assert nothing_more(lane)
        lane.close()


def test_moved_database_takes_what_waited_once_the_consumer_is_its_own(
    server: NatsServer, lane: NatsLane, prefix: str
) -> None:
    send(server, (f"{prefix}.signals.approved.gold", b"CLOSE", {}))
    moved = lane_of(server, prefix, database="8/one")
    with pytest.raises(SinkUnavailable) as refused:
        moved.poll(never, seconds=0.1)
    advice = f"nats consumer edit {prefix} fillcast-tst-signals --metadata database=8/one"
    assert advice in str(refused.value)
    assert "do not delete it" in str(refused.value)
    edit(server, prefix, metadata={"database": "8/one"})
    assert [one.body for one in read(moved, 1, acknowledge)] == [b"CLOSE"]
    moved.close()


def test_lost_consumer_goes_on_where_it_was(
    server: NatsServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "STORE_SECONDS", 0.0)
    cursor, subject = Remembered(), f"{prefix}.signals.approved.gold"
    lane = lane_of(server, prefix, cursor=cursor)
    assert nothing_more(lane)
    send(server, (subject, b"1", {}))
    read(lane, 1, acknowledge)
    assert nothing_more(lane)
    lane.close()
    send(server, (subject, b"2", {}))
    on_bus(server, lambda jetstream: jetstream.delete_consumer(prefix, "fillcast-tst-signals"))
    again = lane_of(server, prefix, cursor=cursor)
    assert [one.body for one in read(again, 1, acknowledge)] == [b"2"]
    assert nothing_more(again)
    again.close()


def test_restarted_server_knows_where_a_consumer_began_that_acknowledged_nothing(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our copy of its place follows it, so that it must not begin with 0 again."""
    monkeypatch.setattr(consumer, "STORE_SECONDS", 0.0)
    streams = {"name": "a", "subjects": ["a.signals.>"]}
    on_bus(own_server, lambda jetstream: jetstream.add_stream(**streams))
    send(own_server, ("a.signals.approved.gold", b"before we listened", {}))
    cursor = Remembered()
    lane = lane_of(own_server, "a", cursor=cursor)
    assert nothing_more(lane)
    own_server.kill()
    own_server.start()

    def polled() -> bool:
        try:
            return lane.poll(never, seconds=0.05) == 0
        except SinkUnavailable:
            return False

    until(polled)
    lane.close()
    on_bus(own_server, lambda jetstream: jetstream.delete_consumer("a", "fillcast-tst-signals"))
    again = lane_of(own_server, "a", cursor=cursor)
    assert nothing_more(again)
    again.close()


def test_lost_stream_is_read_from_its_beginning(
    server: NatsServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor, subject = Remembered(), f"{prefix}.signals.approved.gold"
    lane = lane_of(server, prefix, cursor=cursor)
    assert nothing_more(lane)
    lane.close()

    async def replace(jetstream: Any) -> None:
        await jetstream.delete_stream(prefix)
        await jetstream.add_stream(name=prefix, subjects=[f"{prefix}.signals.>"])

    on_bus(server, replace)
    send(server, (subject, b"1", {}))
    again = lane_of(server, prefix, cursor=cursor)
    assert [one.body for one in read(again, 1, acknowledge)] == [b"1"]
    again.close()


def test_copy_with_a_tag_of_its_own_reads_nothing_from_before_it(
    server: NatsServer, prefix: str
) -> None:
    cursor = Remembered()
    lane = lane_of(server, prefix, cursor=cursor)
    assert nothing_more(lane)
    send(server, (f"{prefix}.signals.approved.gold", b"1", {}))
    copy = lane_of(server, prefix, cursor=Remembered(**cursor.kept), tag="copy")
    assert nothing_more(copy)
    for one in (lane, copy):
        one.close()


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"filter_subject": "{}-old.signals.approved.>"}, "--filter"),
        ({"max_deliver": 5}, "--max-deliver=-1"),
    ],
)
def test_consumer_that_would_lose_messages_is_refused(
    server: NatsServer, prefix: str, changes: dict[str, Any], advice: str
) -> None:
    on_bus(
        server,
        lambda jetstream: jetstream.add_stream(
            name=prefix, subjects=[f"{prefix}.>", f"{prefix}-old.>"]
        ),
    )
    lane = lane_of(server, prefix)
    assert nothing_more(lane)
    lane.close()
    wrong = {
        name: value.format(prefix) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    edit(server, prefix, **wrong)
    again = lane_of(server, prefix)
    with pytest.raises(SinkUnavailable, match=f"nats consumer edit {prefix} .*{advice}"):
        again.poll(never, seconds=0.1)
    edit(server, prefix, filter_subject=f"{prefix}.signals.approved.>", max_deliver=-1)
    assert nothing_more(again)
    again.close()


def test_message_too_large_is_refused_by_our_stream(
    server: NatsServer, lane: NatsLane, prefix: str
) -> None:
    with pytest.raises(nats.js.errors.APIError, match="exceeds maximum"):
        send(server, (f"{prefix}.signals.approved.gold", b"x" * 100_000, {}))
    assert nothing_more(lane)


def test_absent_server_is_unavailable() -> None:
    with closed_port() as port:
        url = f"nats://127.0.0.1:{port}"
        lane = NatsLane(url, "signals", tag="tst", database="7/one", cursor=Remembered())
        with pytest.raises(SinkUnavailable):
            lane.poll(never, seconds=0.1)
        lane.close()


@pytest.mark.django_db
@pytest.mark.usefixtures("inline_commits", "alice")
def test_signal_on_the_bus_becomes_orders_once(
    server: NatsServer, lane: NatsLane, prefix: str, feed: Feed
) -> None:
    add_route(SUBJECT, feed=feed, by=staff(Role.OPERATOR, name="olga"))
    send(
        server,
        (f"{prefix}.{SUBJECT}", body(), {"Nats-Msg-Id": "a"}),
        (f"{prefix}.{SUBJECT}", body(), {"Nats-Msg-Id": "b"}),  # the same signal again
        (f"{prefix}.{SUBJECT}", body()[:40], {"Nats-Msg-Id": "c"}),  # cut off
        (f"{prefix}.signals.approved.other", body(signal_id="s-2"), {}),
    )
    read(lane, 4, take)
    assert Signal.objects.get().external_id == "s-1"
    assert Order.objects.count() == 1
    codes = BusMessage.objects.dead().order_by("pk").values_list("code", flat=True)
    assert list(codes) == [Code.BODY_NOT_JSON, Code.SUBJECT_UNKNOWN]
    assert nothing_more(lane)
