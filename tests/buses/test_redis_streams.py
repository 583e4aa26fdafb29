"""Events in a real Redis stream."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from redis import Redis

from buses.redis_streams.sink import RedisStreamSink, open_sink
from buses.sinks import SinkMisconfigured, SinkUnavailable
from buses.sinks import open_sink as open_any
from tests.buses.factories import envelope

Entries = list[dict[str, str]]


@pytest.fixture
def redis() -> Iterator[Any]:
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        yield client


@pytest.fixture
def stream(redis: Any) -> Iterator[str]:
    name = f"test-{uuid4().hex}"
    yield name
    redis.delete(name, f"{{{name}}}:ids", f"{{{name}}}:count")


def sink_for(stream: str, options: str = "") -> RedisStreamSink:
    url = settings.REDIS_URL.split("?")[0].rsplit("/", 1)
    return open_sink(f"{url[0].replace('redis://', 'redis+stream://')}/{stream}{options}")


def entries(redis: Any, stream: str) -> Entries:
    return [fields for _, fields in redis.xrange(stream)]


def test_event_is_one_entry_with_its_envelope(redis: Any, stream: str) -> None:
    sink_for(stream).write([envelope(1), envelope(2, account_id=None, tenant_id=None)])
    first, second = entries(redis, stream)
    assert (first["id"], first["type"]) == ("tst-0-0-log-1", "fillcast.order_update.v1")
    assert json.loads(first["event"]) == {
        "specversion": "1.0",
        "id": "tst-0-0-log-1",
        "source": "/fillcast/tst",
        "type": "fillcast.order_update.v1",
        "time": "2026-11-30T12:00:00.000250+00:00",
        "subject": "orders/1",
        "datacontenttype": "application/json",
        "accountid": "6b1c0b8e-0000-4000-8000-000000000001",
        "tenantid": "7",
        "data": {"order_id": 1},
    }
    assert "accountid" not in json.loads(second["event"])


def test_repeated_event_is_one_entry(redis: Any, stream: str) -> None:
    sink = sink_for(stream)
    sink.write([envelope(1), envelope(2), envelope(1)])
    sink.write([envelope(2), envelope(3)])
    assert [one["subject"] for one in entries(redis, stream)] == [
        "orders/1",
        "orders/2",
        "orders/3",
    ]


def test_stream_is_trimmed_with_its_ids(redis: Any, stream: str) -> None:
    sink = sink_for(stream, "?maxlen=100")
    sink.write([envelope(number) for number in range(1_000)])
    kept = redis.xlen(stream)
    assert kept < 300
    assert redis.zcard(f"{{{stream}}}:ids") == kept
    sink.write([envelope(999), envelope(0)])  # the first one was trimmed: it is written again
    assert [one["subject"] for one in entries(redis, stream)][-2:] == ["orders/999", "orders/0"]


def test_key_of_another_type_is_explained(redis: Any, stream: str) -> None:
    redis.set(stream, "mine")
    with pytest.raises(SinkUnavailable, match="is no stream in this Redis"):
        sink_for(stream).write([envelope()])
    assert redis.get(stream) == "mine"
    assert redis.zcard(f"{{{stream}}}:ids") == 0  # else it would count as written later


def test_full_redis_takes_nothing(redis: Any, stream: str) -> None:
    before = redis.config_get("maxmemory")["maxmemory"]
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(SinkUnavailable, match="is full"):
            sink_for(stream).write([envelope()])
    finally:
        redis.config_set("maxmemory", before)
    sink_for(stream).write([envelope()])
    assert redis.xlen(stream) == 1


def test_dead_redis_is_unavailable() -> None:
    with pytest.raises(SinkUnavailable, match="does not answer"):
        open_sink("redis+stream://127.0.0.1:1/s").write([envelope()])


def test_large_event_is_one_entry(redis: Any, stream: str) -> None:
    sink_for(stream).write([envelope(1, data={"text": "x" * 10_000_000}), envelope(2)])
    assert redis.xlen(stream) == 2


def test_name_has_no_password() -> None:
    assert open_sink("redis+stream://me:secret@h/s?db=2").name == "redis+stream://h/s"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+stream://h", "needs a host and a stream"),
        ("redis+stream://h/a b", "needs a host and a stream"),
        ("redis+stream://h/s?maxlen=0", "maxlen of a Redis stream is a number from 1"),
        ("redis+stream://h/s?max=1", "has no option max"),
        ("amqp://u:secret@h/s", "known are clickhouse://, kafka://"),
    ],
)
def test_wrong_url_is_explained(url: str, message: str) -> None:
    with pytest.raises(SinkMisconfigured, match=message) as error:
        open_any(url)
    assert "secret" not in str(error.value)
