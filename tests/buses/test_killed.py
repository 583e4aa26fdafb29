"""The process that delivers, killed again and again, with a real Redis: nothing is left out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection, transaction
from redis import Redis

from buses.models import BusSink
from events.models import Event, EventKind
from events.services import emit
from tests.buses.schemas import check_json
from tests.until import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stream() -> Iterator[str]:
    name = f"test-{uuid4().hex}"
    yield name
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.delete(name, f"{{{name}}}:ids", f"{{{name}}}:count")


@contextmanager
def process(stream: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `manage.py buses` on the test's database until the block ends; then kill it."""
    ours = connection.settings_dict
    login = f"{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}"
    url = settings.REDIS_URL.split("?")[0].rsplit("/", 1)[0]
    environ = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{login}/{ours['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "FILLCAST_DB_ROLE": "trade",
        "FILLCAST_BUSES": f"{url.replace('redis://', 'redis+stream://')}/{stream}",
    }
    line = [sys.executable, "manage.py", "buses"]
    with log.open("ab") as output:
        running = subprocess.Popen(line, env=environ, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield running
    finally:
        running.kill()
        running.wait(60)


def happen(count: int) -> None:
    for _ in range(count):
        with transaction.atomic():
            emit(EventKind.KILL_SWITCH, payload={"number": Event.objects.count() + 1})


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_killed_process_leaves_nothing_out_and_adds_nothing(stream: str, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def entries() -> list[dict[str, Any]]:
        with Redis.from_url(settings.REDIS_URL, decode_responses=True) as redis:
            found: Any = redis.xrange(stream)
        return [json.loads(fields["event"]) for _, fields in found]

    def has_more_than(count: int) -> bool:
        return len(entries()) > count

    for before in (0, 300, 600):
        with process(stream, log) as running:
            until(
                lambda: BusSink.objects.filter(cursors__source="announcements").exists(),
                seen=log.read_text,
            )
            happen(300)
            # Killed in the middle of its work, while its lease is in force.
            until(partial(has_more_than, before), seen=log.read_text)
            running.kill()
        BusSink.objects.update(lease_until=None)  # as after a minute
    with process(stream, log):
        until(lambda: len(entries()) == 900, seen=log.read_text)
    events = entries()
    for event in events:
        check_json(event)
    assert sorted(event["data"]["payload"]["number"] for event in events) == list(range(1, 901))
