"""Rows of buses that are of no use any more are removed, however many there are."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from buses import cleaning as outgoing
from buses.drain import Drain
from buses.incoming import cleaning as incoming
from buses.incoming.models import BusMessage, MessageState
from buses.models import BusSink, DeadLetter
from buses.runner import Runner
from tests.buses.factories import MemorySink

pytestmark = pytest.mark.django_db


def days_ago(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def test_all_old_messages_are_removed_in_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "BATCH", 2)
    BusMessage.objects.bulk_create(
        BusMessage(
            bus="b", message_id=f"{number}", subject="s", body=b"", digest="d", length=0,
            stored_at=days_ago(40), settled_at=days_ago(40), state=MessageState.DONE,
        )
        for number in range(5)
    )  # fmt: skip
    kept = BusMessage.objects.create(
        bus="b", message_id="dead", subject="s", body=b"", digest="d", length=0, code="X",
        stored_at=days_ago(40), settled_at=days_ago(40), state=MessageState.DEAD,
    )  # fmt: skip
    assert incoming.remove_old() == 5
    assert BusMessage.objects.get() == kept


def test_process_of_buses_removes_old_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "BATCH", 2)
    sink = BusSink.objects.create(name="memory")
    letters = {
        f"{name}-{number}": DeadLetter(
            sink=sink, envelope_id=f"{name}-{number}", type="t", reason="r", at=days_ago(days),
            replayed_at=days_ago(days) if name != "waiting" else None,
        )
        for number in range(3)
        for name, days in (("sent", 31), ("new", 29), ("waiting", 89))
    }  # fmt: skip
    DeadLetter.objects.bulk_create(letters.values())
    DeadLetter.objects.create(
        sink=sink, envelope_id="forgotten", type="t", reason="r", at=days_ago(91)
    )
    Runner([])._step(Drain(MemorySink(), holder="one"))
    left = DeadLetter.objects.values_list("envelope_id", flat=True)
    assert set(left) == {name for name in letters if not name.startswith("sent")}
