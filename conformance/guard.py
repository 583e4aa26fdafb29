"""Decides whether the checks may run on a connection's account, and locks its session lane."""

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
    """Return why the checks may not run and what to do, or '' if they may.

    The checks place orders that have no row, so no worker may trade on the account meanwhile.
    Call this before each check: the connection may be activated while they run.
    """
    if connection.is_active:
        return (
            f"{connection.name} is active: workers trade and reconcile it. Switch it off, run the"
            " checks, then switch it on again; it is reconciled before it trades."
        )
    if ExecutionPosition.objects.filter(connection=connection, quantity__gt=0).exists():
        return f"{connection.name} has open positions. Close them first."
    if Order.objects.filter(connection=connection, done_at=None).exists():
        return f"{connection.name} has orders that have not ended. Cancel them first."
    return ""


def guard_error_now(connection: ExecutionConnection) -> str:
    """Read the connection again and return `guard_error`; for a separate thread."""
    try:
        return guard_error(ExecutionConnection.objects.get(pk=connection.pk))
    finally:
        database.close()


@contextmanager
def exclusive_lock(lane: str) -> Iterator[Callable[[], bool]]:
    """Hold a session lane like its worker. Yield a function that returns whether we still hold it.

    The general lane needs no holder. Raises ConflictError NO_SESSION_WORKER if another process
    holds the lane: it would call the same account, since it runs requested connection tests even
    if the connection is switched off.
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
            f"{owner} holds lane {lane} and would call the account too. Stop all session workers"
            " meanwhile (another one takes the lane over when one stops), or run the checks in an"
            " installation without session workers."
        )
    return f"{owner} holds lane {lane}. Stop that worker while the checks run."


def _renew(lanes: LaneLeaseManager, done: threading.Event) -> None:
    while not done.wait(settings.FILLCAST_LEASE_SECONDS / RENEWALS):
        lanes.renew()
    database.close()
