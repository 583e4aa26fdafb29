"""The stack under its supervisor, as by `make up`: `python -m benchmarks.stack_program [--apart]`.

For each line of its input it prints the ids of the processes by name, once all are ready. It ends
with its input, and its processes with it; they do so after a `kill -9`, too.

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


def processes(settings: Settings) -> list[ProcessSpec]:
    """Return the stack's processes, as the options want them."""
    is_apart, specs = APART in sys.argv, all_processes(settings)
    return [replace(spec, forked=spec.forked and not is_apart) for spec in specs]


def main() -> None:
    with Stack(what="manage.py bench", children=processes) as stack:
        stack.prepare()
        supervisor = stack.start()
        for _ in sys.stdin:
            if not supervisor.wait_ready(READY_SECONDS):
                sys.exit(f"not ready: {', '.join(supervisor.unready())}")
            print(json.dumps({name: one.pid for name, one in supervisor.children.items()}))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
