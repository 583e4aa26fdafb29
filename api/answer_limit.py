"""A limit on how long this thread waits for PostgreSQL.

A server that is stopped, or whose disk hangs, closes no connection, and its own time-outs do not
count meanwhile. A scraper would give up first and take the web process for dead.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connection


@contextmanager
def database_answers_within(seconds: float) -> Iterator[None]:
    """End this thread's session if the block takes longer, which then raises OperationalError."""
    connection.ensure_connection()
    copy = socket.socket(fileno=os.dup(connection.connection.fileno()))
    timer = threading.Timer(seconds, _end, (copy,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        copy.close()


def _end(session: socket.socket) -> None:
    with suppress(OSError):  # it has ended already
        session.shutdown(socket.SHUT_RDWR)
