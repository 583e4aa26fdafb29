"""Report outside of the process that it is ready, and that it works on."""

import os
import threading
from pathlib import Path

VARIABLE = "FILLCAST_READY_FILE"
ALIVE = "FILLCAST_ALIVE_FILE"  # of containers: its time is what `python -m ops.health alive` judges


def announce_ready() -> None:
    """Notify the supervisor, if there is one, that this process now takes work."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()


def announce_alive(trouble: str = "") -> None:
    """Note that this process goes on, for the health check of its container, if there is one.

    trouble: what it does not do meanwhile; its check fails, and it is not restarted for that.
    """
    if path := os.environ.get(ALIVE):
        written = Path(f"{path}.{threading.get_native_id()}")
        written.write_text(trouble)
        written.replace(path)  # a check reads one or the other, never a part
