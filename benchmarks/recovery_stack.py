"""The processes of the stack under their supervisor, without the servers, for `recovery`.

For each line of its input it prints the process id of each that is ready, by name. It ends with its
input. `kill -9` ends its processes with it, as with the supervisor of `make up`.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from config.env import Settings
from config.installation import ROOT, var_folder
from ops.stack.stack import all_processes, fork_server
from ops.stack.supervisor import Supervisor


def main() -> None:
    """Run until the input ends."""
    logs: Path = var_folder(os.environ) / "log"
    supervisor = Supervisor(
        all_processes(Settings.read(os.environ)), environ=dict(os.environ), logs=logs, folder=ROOT,
        report=lambda _: None, fork_server=fork_server(),
    )  # fmt: skip
    supervisor.start()
    try:
        for _ in sys.stdin:
            ready = {name: one.pid for name, one in supervisor.children.items() if one.ready}
            print(json.dumps(ready if len(ready) == len(supervisor.children) else {}), flush=True)
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main()
