"""Ports for the servers of tests, and ports on which nothing listens."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ops.embedded.ports import HOST, is_free

SERVERS = range(10_000, 32_000)
"""Below those that the system gives to clients, and to servers that ask for any port: between the
choice of such a port and its use, another process of a busy machine could get it."""
_random = random.SystemRandom()  # what a test seeds would be the same in other processes


def free_port() -> int:
    """Return a port that is free now, and that the system gives only to a process that names it."""
    while not is_free(port := _random.choice(SERVERS)):
        pass
    return port


@contextmanager
def closed_port() -> Iterator[int]:
    """Keep a port on which nothing listens, and nothing can meanwhile."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        yield held.getsockname()[1]
