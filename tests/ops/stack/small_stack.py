"""A program that runs a stack of few processes, for the tests of starting and stopping."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from ops.embedded.errors import EmbeddedError
from ops.stack.stack import Stack, web_process, worker_process


def main() -> int:
    """Run until a signal; print "ready" to standard output when all processes are."""
    children = [worker_process("maintenance", "maintenance")]
    with Stack(what="small stack", children=lambda env: [web_process(env), *children]) as stack:
        stack.prepare()
        supervisor = stack.start()
        with supervisor.signals_handled():
            if supervisor.wait_ready():
                print("ready", flush=True)
            return supervisor.run_forever()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EmbeddedError as e:
        sys.exit(str(e))
