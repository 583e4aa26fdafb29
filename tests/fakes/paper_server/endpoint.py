"""Where the server of this process's broker listens."""

import os


def server_address() -> tuple[str, int]:
    """Return the host and port that PAPER_SERVER names."""
    host, _, port = os.environ["PAPER_SERVER"].rpartition(":")
    return host, int(port)
