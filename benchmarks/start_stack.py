"""The stack of the benchmark `start`: prints its processes' ids once all are ready, then waits.

    python -m benchmarks.start_stack [--apart]

--apart: each process imports everything for itself, as without the fork server.
"""

import json
import os
import sys
from dataclasses import replace

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from config.env import Settings
from ops.stack.process import ProcessSpec
from ops.stack.stack import Stack, all_processes

READY_SECONDS = 180
APART = "--apart"


def main(arguments: list[str]) -> int:
    """Run until a signal; the exit code is 1 if not all processes become ready."""

    def children(settings: Settings) -> list[ProcessSpec]:
        forked = APART not in arguments
        return [replace(spec, forked=spec.forked and forked) for spec in all_processes(settings)]

    with Stack(what="manage.py bench", children=children) as stack:
        stack.prepare()
        supervisor = stack.start()
        with supervisor.signals_handled():
            if not supervisor.wait_ready(READY_SECONDS):
                return 1
            pids = {name: running.pid for name, running in supervisor.children.items()}
            print(json.dumps(pids), flush=True)
            return supervisor.run_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
