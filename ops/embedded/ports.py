"""Ports on this machine."""

import errno
import socket
from pathlib import Path

from ops.embedded.errors import EmbeddedError

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, host: str = HOST) -> bool:
    """Return whether a server could listen on `port` now. Raises OSError for a wrong host."""
    with socket.socket() as probe:
        # Servers set this option too, so a port in TIME_WAIT is free for them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            if e.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def choose_port(configured: int | None, memory: Path) -> int:
    """Return `configured` if given, else the previous port if it is still free, else a free one.

    memory: the file that stores the previous port. Raises EmbeddedError if `configured` is in use.
    """
    if configured is not None:
        if not is_free(configured):
            raise EmbeddedError(
                f"Port {configured} is in use by another program; stop it or choose another port."
            )
        return configured
    try:
        remembered = int(memory.read_text())
    except (OSError, ValueError):
        remembered = 0
    port = remembered if 1024 <= remembered <= 65535 and is_free(remembered) else free_port()
    memory.write_text(f"{port}\n")
    return port
