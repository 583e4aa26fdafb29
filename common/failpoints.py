"""Failpoints: named places where a test makes this process die, stop or fail.

A failpoint that is not armed costs one look-up in an empty dict. Only the setting
FILLCAST_REHEARSAL arms them, and a process in production refuses to start with it. docs/faults.md
states what the tests prove that use them.
"""

import os
import signal
import threading
from collections.abc import Iterable
from dataclasses import dataclass

POINTS = {
    "alert.stored": "an alert is in the inbox and committed; no worker is notified yet",
    "alert.claimed": "a worker has locked a waiting alert; nothing of it is published",
    "alert.written": "its signals are published and it is settled; not committed",
    "publish.written": "a signal is published and its orders are written; not committed",
    "twin.opened": "a paper twin's account is open; its subscription is not written or committed",
    "funding.booked": "payments are added to positions and marked; not committed",
    "enqueue.bundle": "everything is committed; a bundle is about to be enqueued (the nth bundle)",
    "enqueue.done": "all bundles are enqueued",
    "decision.answered": "a decision provider has answered; nothing is written",
    "decision.stored": "its answers are written; the entries are not claimed again yet",
    "telegram.received": "a bot's messages have arrived; none is stored",
    "telegram.stored": "a bot's message is stored with its place; not committed",
    "claim.locked": "a bundle's connection locks are locked",
    "claim.written": "its intents are written; not committed",
    "claim.committed": "the intents are on disk; the dispatcher does not have them yet",
    "dispatch.begin": "the event loop has the orders; no guard has checked them",
    "dispatch.recorded": "an order's send is recorded; no guard has checked it",
    "dispatch.guarded": "the guard passed an order; it is not written to the socket yet",
    "dispatch.answered": "only the event loop has an order's outcome; not in the queue of results",
    "reports.gathered": "outcomes are taken from the queue; nothing is written",
    "reports.written": "reports are applied; not committed",
    "reports.committed": "reports are applied and committed; no notification was sent",
    "lane.acquired": "a lane's lease is committed; its new owner has not stored that yet",
    "events.read": "events of the broker are read; none is applied",
    "events.applied": "events are applied; not acknowledged",
    "bus.published": "a bus's signal is published, with its message's row; not committed",
    "bus.committed": "a bus's signal is published and committed; the bus has no acknowledgement",
    "triggers.armed": "triggers of orders that the engine holds are written; not committed",
    "triggers.written": "orders whose trigger fired are due; not committed",
    "triggers.committed": "orders whose trigger fired are due and committed; not enqueued",
    "conditions.met": "entries whose condition holds are released; not committed",
    "conditions.woken": "entries whose condition is settled are due and committed; not enqueued",
    "time_exits.committed": "exits of positions whose time has come are committed; not enqueued",
    "condition_exits.committed": "exits and cancels of positions whose condition holds are"
    " committed; not enqueued",
    "slice_averages.read": "the market's averages of ended entries in slices are read; not stored",
    "exits.written": "exits are written with their reservation; not committed",
    "partial_closes.written": "exits of what filled after its CLOSE of a part are written; not"
    " committed",
    "levels.committed": "exits of levels that were hit are committed; not enqueued",
    "stop_rules.committed": "stops moved by their rules are committed; the broker has the old ones",
    "ends.committed": "cancels of orders whose valid_until has passed are decided; not claimed yet",
    "pending_actions.committed": "cancels and moved levels are decided; the broker is not called"
    " yet",
    "pending_actions.answered": "the broker has done it; its answer is not written",
    "changes.begun": "a signal's change that waited for its order is requested; not committed",
    "changes.committed": "changes of working orders are claimed; the broker is not called yet",
    "changes.answered": "the broker has answered a change; nothing is written",
    "unsent.found": "a dead process's journal lacks orders; none is due again yet",
    "orphans.committed": "orders of a dead process are UNKNOWN; no broker is queried yet",
    "lookup.answered": "brokers answered queries for orders; nothing is written",
    "absence.committed": "an absence confirmation is written",
    "route.moved": "failed entries have moved to the next account; not executed yet",
    "reconcile.read": "positions were read; nothing is compared",
    "reconcile.committed": "differences are written",
    "delivery.claimed": "messages are claimed; none is sent",
    "delivery.sent": "messages are sent; that is not stored yet",
    "quotes.stored": "prices are stored; the levels that they reach are not scanned",
    "archive.written": "a file of the archive is on disk; its rows are not deleted",
    "archive.removed": "a file's rows are deleted and the manifest lists it; not committed",
    "archive.committed": "a batch of the archive is committed",
    "broker.received": "the paper broker has an order; its books are not committed",
    "broker.accepted": "the paper broker's books are committed; it has not answered",
}
ACTIONS = ("kill", "stop", "exit", "raise", "abandon")


class FailpointError(Exception):
    """Raised at a failpoint with the action `raise`."""


class AbandonedError(BaseException):
    """Raised at a failpoint with the action `abandon`.

    No handler of an exception catches it: what was begun ends there, as if the process had died. So
    a test can let a process die that is its own.
    """


@dataclass(frozen=True, slots=True)
class Failpoint:
    """An armed failpoint. action: one of ACTIONS; nth: at which of its hits, from 1."""

    name: str
    action: str
    nth: int = 1

    @classmethod
    def read(cls, text: str) -> "Failpoint":
        """Read `claim.committed:kill` or `dispatch.guarded:stop:30`. Raises ValueError."""
        name, action, *nth = text.split(":")
        if name not in POINTS or action not in ACTIONS or len(nth) > 1:
            raise ValueError(text)
        armed = cls(name, action, int(nth[0]) if nth else 1)
        if armed.nth < 1:
            raise ValueError(text)
        return armed


_armed: dict[str, Failpoint] = {}
_hits: dict[str, int] = {}
_lock = threading.Lock()


def arm(failpoints: Iterable[Failpoint]) -> None:
    """Arm these failpoints in this process, and disarm all others."""
    _hits.clear()
    _armed.clear()
    _armed.update({armed.name: armed for armed in failpoints})


def failpoint(name: str) -> None:
    """Do nothing unless this failpoint is armed in this process."""
    if _armed and (armed := _armed.get(name)):
        _hit(armed)


def _hit(armed: Failpoint) -> None:
    with _lock:  # several threads reach the same failpoint
        _hits[armed.name] = _hits.get(armed.name, 0) + 1
        if _hits[armed.name] != armed.nth:
            return
    os.write(2, f"fault: {armed.action} at {armed.name}\n".encode())
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.action == "stop":
        # Sent to this thread. If it were sent to the process, another thread could receive it up to
        # milliseconds later, and this one would stop somewhere after the failpoint.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    elif armed.action == "exit":
        os._exit(1)
    elif armed.action == "abandon":
        raise AbandonedError(armed.name)
    else:
        raise FailpointError(armed.name)
