"""The stack's processes under their supervisor: `python -m benchmarks.stack_program [OPTION…]`.

For each line of its input it prints the ids of the processes by name, once all are ready. It ends
with its input, and its processes with it; they do so after a `kill -9`, too, as those of `make up`.

--apart: each process imports everything for itself, as without the fork server.
--without-servers: PostgreSQL and Redis run elsewhere, and survive this process.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from config.env import Settings
from config.installation import ROOT, var_folder
from ops.stack.process import ProcessSpec
from ops.stack.stack import Stack, all_processes, fork_server
from ops.stack.supervisor import Supervisor

READY_SECONDS = 180
APART, WITHOUT_SERVERS = "--apart", "--without-servers"


def main(options: list[str]) -> None:
    """Run until the input ends."""
    run = _processes if WITHOUT_SERVERS in options else _whole_stack
    with run(APART in options) as supervisor:
        for _ in sys.stdin:
            if not supervisor.wait_ready(READY_SECONDS):
                sys.exit(f"not ready: {', '.join(supervisor.unready())}")
            print(json.dumps({name: one.pid for name, one in supervisor.children.items()}))
            sys.stdout.flush()


@contextmanager
def _whole_stack(is_apart: bool) -> Iterator[Supervisor]:
    def children(settings: Settings) -> list[ProcessSpec]:
        specs = all_processes(settings)
        return [replace(spec, forked=spec.forked and not is_apart) for spec in specs]

    with Stack(what="manage.py bench", children=children) as stack:
        stack.prepare()
        yield stack.start()


@contextmanager
def _processes(_: bool) -> Iterator[Supervisor]:
    supervisor = Supervisor(
        all_processes(Settings.read(os.environ)), environ=dict(os.environ), folder=ROOT,
        logs=var_folder(os.environ) / "log", report=lambda _: None, fork_server=fork_server(),
    )  # fmt: skip
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
