"""A few hashes at a time, a bounded queue, and no waiting inside a transaction."""

import threading

import pytest
from django.db import transaction

from users.password_slots import PasswordHashSlots, SlotsBusyError


def hold(turns: PasswordHashSlots, let_go: threading.Event, started: threading.Semaphore) -> None:
    with turns.slot():
        started.release()
        assert let_go.wait(120)


@pytest.mark.django_db(transaction=True)
def test_full_queue_rejects_immediately_and_long_wait_times_out() -> None:
    turns = PasswordHashSlots(slots=1, queue_size=1, seconds=0.2)
    let_go, started = threading.Event(), threading.Semaphore(0)
    holder = threading.Thread(target=hold, args=(turns, let_go, started))
    holder.start()
    assert started.acquire(timeout=120)
    late: list[bool] = []

    def wait_for_it() -> None:
        try:
            with turns.slot():
                late.append(False)
        except SlotsBusyError:
            late.append(True)

    waiter = threading.Thread(target=wait_for_it)
    waiter.start()
    waiter.join(120)
    assert late == [True]
    with transaction.atomic(), turns.slot(), turns.slot():
        pass  # a transaction never waits
    let_go.set()
    holder.join(120)
    with turns.slot(), turns.slot():
        pass  # everything was given back, and a thread's own turns nest


@pytest.mark.django_db(transaction=True)
def test_password_queue_is_bounded() -> None:
    turns = PasswordHashSlots(slots=1, queue_size=0, seconds=30)
    let_go, started = threading.Event(), threading.Semaphore(0)
    holder = threading.Thread(target=hold, args=(turns, let_go, started))
    holder.start()
    assert started.acquire(timeout=120)
    with pytest.raises(SlotsBusyError), turns.slot():
        pass
    let_go.set()
    holder.join(120)
