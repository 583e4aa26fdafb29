"""How a process tells its supervisor that it is ready."""

import os
from pathlib import Path

VARIABLE = "FILLCAST_READY_FILE"


def announce_ready() -> None:
    """Tell the supervisor, if there is one, that this process takes work now."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()
