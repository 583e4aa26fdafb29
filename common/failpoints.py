"""Named points at which a test lets this process die, stop or fail, to see that nothing is lost.

A point that is not armed costs one lookup in an empty dict. Only the setting FILLCAST_FAILPOINTS
arms any, and a process in production refuses to start with it. docs/faults.md lists each point and
the test that uses it.
"""

import os
import signal
import threading
from collections.abc import Iterable
from dataclasses import dataclass

POINTS = {
    "publish.written": "a signal is published and its orders are written; not committed",
    "ring.bundle": "all of it is committed; a bundle is about to be rung (the nth bundle)",
    "ring.done": "everything has been rung",
    "claim.locked": "a bundle's connection locks are locked",
    "claim.written": "its intents are written; not committed",
    "claim.committed": "the intents are on disk, nothing has been handed to the wire",
    "wire.begin": "the loop has the orders; no guard was asked",
    "wire.guarded": "the guard let an order through; it is not written to the socket yet",
    "wire.answered": "an order's outcome is known to the loop alone; not in the outbox",
    "flush.gathered": "outcomes are out of the outbox; nothing is written",
    "outcome.written": "reports are applied; not committed",
    "outcome.committed": "reports are applied and committed; nobody was told so",
    "lane.taken": "a lane's lease is committed; its new owner does not know of it yet",
    "events.read": "the broker told events; none is applied",
    "events.applied": "events are applied; not acknowledged",
    "exits.written": "exits are written with their reservation; not committed",
    "watch.committed": "exits of levels that were hit are committed; not rung",
    "wishes.committed": "cancels and moved levels are decided; the broker was not asked",
    "wishes.answered": "the broker did as it was asked; its answer is not written",
    "takeover.committed": "orders of a dead process are UNKNOWN; no broker was asked",
    "ask.answered": "brokers answered where orders are; nothing is written",
    "proof.committed": "a proof of absence is written",
    "reconcile.read": "positions were read; nothing is compared",
    "reconcile.committed": "differences are written",
    "delivery.claimed": "messages are claimed; none is sent",
    "delivery.sent": "messages were sent; nobody knows that yet",
    "quotes.stored": "prices are stored; levels that they reach are not looked at",
    "broker.received": "the paper broker has an order; its books are not committed",
    "broker.accepted": "the paper broker's books are committed; it has not answered",
}
ACTIONS = ("kill", "stop", "exit", "raise")


class FailpointError(Exception):
    """What a point raises that is armed to."""


@dataclass(frozen=True, slots=True)
class Failpoint:
    """One armed point. deed: one of DEEDS; nth: at which of its hits, from 1."""

    failpoint: str
    action: str
    nth: int = 1

    @classmethod
    def read(cls, text: str) -> "Failpoint":
        """Read `claim.committed:kill` or `wire.guarded:stop:30`. Raises ValueError."""
        point, deed, *nth = text.split(":")
        if point not in POINTS or deed not in ACTIONS or len(nth) > 1:
            raise ValueError(text)
        fault = cls(point, deed, int(nth[0]) if nth else 1)
        if fault.nth < 1:
            raise ValueError(text)
        return fault


_armed: dict[str, Failpoint] = {}
_hits: dict[str, int] = {}
_lock = threading.Lock()


def arm(faults: Iterable[Failpoint]) -> None:
    """Arm these points of this process and no others."""
    _hits.clear()
    _armed.clear()
    _armed.update({fault.failpoint: fault for fault in faults})


def failpoint(name: str) -> None:
    """Nothing, unless this point is armed in this process."""
    if _armed and (fault := _armed.get(name)):
        _hit(fault)


def _hit(fault: Failpoint) -> None:
    with _lock:  # points are met by several threads
        _hits[fault.failpoint] = _hits.get(fault.failpoint, 0) + 1
        if _hits[fault.failpoint] != fault.nth:
            return
    os.write(2, f"fault: {fault.action} at {fault.failpoint}\n".encode())
    if fault.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.action == "stop":
        # To this thread: sent to the process, it stops when another thread gets to it, up to
        # milliseconds later, and this one would stand still anywhere behind the point.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    elif fault.action == "exit":
        os._exit(1)
    else:
        raise FailpointError(fault.failpoint)
