"""A program that states what it is as JSON, then sleeps: `-m tests.ops.stack.forked_program`.

--exit CODE   exit at once instead
--stubborn    ignore SIGTERM
--parent      start a child that sleeps, and state its id
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def state() -> dict[str, Any]:
    """Return what a process gets at its start."""
    imports = sys.modules.get("tests.ops.stack.fork_imports")
    group = Path("/proc/self/autogroup")
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "forked_from": imports and imports.IMPORTED_IN,
        "begun_in": imports and imports.begun_in,
        "argv": sys.argv[1:],
        "folder": os.getcwd(),
        "env": dict(os.environ),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "group_niceness": group.read_text().split()[-1] if group.exists() else None,
        "signals": [signal.getsignal(number) is signal.SIG_DFL for number in (15, 17)],
        "random": random.random(),
        "files": _open_files(),
        "threads": threading.active_count(),
        "name": __name__,
    }


def _open_files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of this listing
            found.append(str(entry.readlink()))
    return sorted(found)


def main(arguments: list[str]) -> None:
    """Print the state, then do as asked."""
    if "--stubborn" in arguments:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"]).pid if "--parent" in arguments else None
    print(json.dumps({**state(), "child": child}), flush=True)
    print("to standard error", file=sys.stderr)
    if "--exit" in arguments:
        sys.exit(int(arguments[arguments.index("--exit") + 1]))
    time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1:])
