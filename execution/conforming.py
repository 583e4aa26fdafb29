"""May the checks of docs/conformance.md be made on a connection's account now, and by whom?"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection as database

from common.codes import Code
from common.errors import ConflictError
from connections.lanes import GENERAL, SHARED, owner_of
from connections.models import ExecutionConnection
from execution.calls.lanes import Lanes, Wanted
from execution.models import Order
from positions.models import ExecutionPosition

RENEWALS = 4  # in the time of a lease


def refusal(connection: ExecutionConnection) -> str:
    """Return why not, and what to do; '' if they may.

    They place orders that no row of ours knows, so nobody else of ours may trade there meanwhile.
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


@contextmanager
def holding(lane: str) -> Iterator[Callable[[], bool]]:
    """Hold a lane that is one program's alone (a terminal's) as its worker would; yields whether it
    still is ours. A shared lane stays its worker's, who leaves what is switched off alone.

    Raises ConflictError LANE_UNHELD where another process holds it.
    """
    if lane == GENERAL or lane.startswith(f"{SHARED}."):
        yield lambda: True
        return
    name = f"conformance-{socket.gethostname()}-{os.getpid()}"
    lanes = Lanes(name, Wanted.of([lane]), settings.FILLCAST_LEASE_SECONDS)
    if not lanes.balance():
        raise ConflictError(
            Code.LANE_UNHELD, f"{owner_of(lane)} holds lane {lane}: stop that worker meanwhile."
        )
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lanes, done), daemon=True)
    renewing.start()
    try:
        yield lambda: lane in lanes.held()
    finally:
        done.set()
        renewing.join()
        lanes.give_back([lane])


def _renew(lanes: Lanes, done: threading.Event) -> None:
    while not done.wait(settings.FILLCAST_LEASE_SECONDS / RENEWALS):
        lanes.renew()
    database.close()
