"""Report to the supervisor that this process is ready."""

import os
from pathlib import Path

VARIABLE = "FILLCAST_READY_FILE"


def announce_ready() -> None:
    """Notify the supervisor, if there is one, that this process now takes work."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()
