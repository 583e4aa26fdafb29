"""May the checks of docs/conformance.md be made on a connection's account now, and by whom?"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection as database

from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.session_lanes import GENERAL, SHARED, lane_owner
from execution.models import Order
from execution.runtime.lane_leases import LaneLeaseManager, LaneSelection
from positions.models import ExecutionPosition

RENEWALS = 4  # in the time of a lease


def guard_error(connection: ExecutionConnection) -> str:
    """Return why not, and what to do; '' if they may.

    They place orders that no row of ours knows, so nobody else of ours may trade there meanwhile.
    Asked before each check: it may be switched on again while they are made.
    """
    if connection.is_active:
        return (
            f"{connection.name} is switched on: workers trade on it and compare it. Switch it off,"
            " run this, and switch it on again; it is compared before it trades."
        )
    if ExecutionPosition.objects.filter(connection=connection, quantity__gt=0).exists():
        return f"{connection.name} has open positions of ours. Close them first."
    if Order.objects.filter(connection=connection, done_at=None).exists():
        return f"{connection.name} has orders of ours that have not ended. Cancel them first."
    return ""


def guard_error_now(connection: ExecutionConnection) -> str:
    """The same, as its row says now; for a thread of its own."""
    try:
        return guard_error(ExecutionConnection.objects.get(pk=connection.pk))
    finally:
        database.close()


@contextmanager
def exclusive_lock(lane: str) -> Iterator[Callable[[], bool]]:
    """Hold a lane as its worker would; yields whether it still is ours. The general one is
    everybody's.

    Raises ConflictError NO_SESSION_WORKER where another process holds it, which would speak to the
    account beside us: it makes the tests that its owner asks for, switched off or not.
    """
    if lane == GENERAL:
        yield lambda: True
        return
    name = f"conformance-{socket.gethostname()}-{os.getpid()}"
    lanes = LaneLeaseManager(name, LaneSelection.of([lane]), settings.FILLCAST_LEASE_SECONDS)
    if not lanes.balance():
        raise ConflictError(Code.NO_SESSION_WORKER, _held_by_message(lane_owner(lane), lane))
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lanes, done), daemon=True)
    renewing.start()
    try:
        yield lambda: lane in lanes.held()
    finally:
        done.set()
        renewing.join()
        lanes.release([lane])


def _held_by_message(owner: str, lane: str) -> str:
    if lane.startswith(f"{SHARED}."):
        return (
            f"{owner} holds lane {lane}, and would speak to the account as well. Stop the session"
            " workers meanwhile, or make the checks in an installation without any: others of them"
            " take the lane over as soon as one ends."
        )
    return f"{owner} holds lane {lane}: stop that worker meanwhile."


def _renew(lanes: LaneLeaseManager, done: threading.Event) -> None:
    while not done.wait(settings.FILLCAST_LEASE_SECONDS / RENEWALS):
        lanes.renew()
    database.close()
