"""Record a process's calls of brokers and the time-outs of its database sessions.

A worker imports it (`-I tests.faults.call_recorder`); `python -m tests.faults.call_recorder prices`
starts a command with it. CALL_RECORD names the file. It has a line for each call ("call submit_many
0", with the number of open transactions) and for each session ("session renew 800 2400 1600").
"""

import os
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

DEPTH: ContextVar[int] = ContextVar("depth", default=0)
CALLS = (
    "submit", "submit_many", "cancel", "modify", "find_order", "positions", "events", "acknowledge",
    "account", "instruments", "journal", "open_orders", "fills_since", "test",
)  # fmt: skip
SESSION = """
SELECT setting FROM pg_settings WHERE name IN
  ('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout') ORDER BY name
"""


def write(line: str) -> None:
    with open(os.environ["CALL_RECORD"], "a") as file:
        file.write(f"{line}\n")


def install_recorder() -> None:
    """Record the calls of this process. A call keeps its caller's context on any thread."""
    from django.db.backends.signals import connection_created
    from django.db.transaction import Atomic

    from tests.fakes.paper_server.adapter import RemotePaper

    enter, leave = Atomic.__enter__, Atomic.__exit__

    def entered(self: Atomic) -> None:
        enter(self)
        DEPTH.set(DEPTH.get() + 1)

    def left(self: Atomic, *fault: Any) -> None:
        DEPTH.set(DEPTH.get() - 1)
        leave(self, *fault)

    Atomic.__enter__, Atomic.__exit__ = entered, left  # type: ignore[method-assign]
    for name in CALLS:
        setattr(RemotePaper, name, recorded(name, getattr(RemotePaper, name)))
    connection_created.connect(on_session, weak=False)


def recorded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def recorded_call(*arguments: Any, **named: Any) -> Any:
        write(f"call {name} {DEPTH.get()}")
        return call(*arguments, **named)

    return recorded_call


def on_session(connection: Any, **_: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SESSION)
        limits = " ".join(row[0] for row in cursor.fetchall())
    write(f"session {threading.current_thread().name.replace(' ', '-')} {limits}")


if __name__ == "__main__":
    import django

    django.setup()
    install_recorder()
    from django.core.management import call_command

    call_command(sys.argv[1])
elif "CALL_RECORD" in os.environ:
    install_recorder()
