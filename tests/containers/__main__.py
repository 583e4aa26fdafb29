"""`make test-containers`: the whole of docker-compose.yml, in real containers.

It builds the image, starts everything as docs/install.md says, makes an operator, a tenant, a feed
and a paper account, publishes a signal and waits for its fill, then kills each container in turn
and waits for a fill after each. Then it loses all volumes, and restores a backup.

    python -m tests.containers [--folder /var/tmp/x] [--keep]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.containers import images, restore_drill
from tests.containers.installation import SERVICES, Installation
from tests.containers.machine import Machine

KILLED = SERVICES[::-1]


def main() -> None:
    """Run all steps; print each with its seconds. Exit code 1 at the first that fails."""
    parser = argparse.ArgumentParser(prog="make test-containers")
    parser.add_argument("--folder", type=Path, help="for images and containers: 5 GB")
    parser.add_argument("--keep", action="store_true", help="remove nothing at the end")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fillcast-containers-", dir="/var/tmp"))
    machine = Machine(folder)
    try:
        run(machine)
    except (RuntimeError, AssertionError, TimeoutError) as error:
        print(f"FAILED: {error}")
        for name, container in machine.containers().items():
            logs = machine.run(machine.engine, "logs", "--tail", "15", container, check=False)
            print(f"--- {name}\n{logs}")
        sys.exit(1)
    finally:
        if not options.keep:
            machine.clean_up()
    print("1 passed, 0 failed")


def run(machine: Machine) -> None:
    """Run the scenario."""
    step("a new clone", machine.prepare)
    standins = step("build the images", lambda: images.build(machine))
    installation = Installation(machine, standins)
    step("deploy/setup", installation.set_up)
    with machine.restarting():
        step("deploy/compose up: every process is healthy", installation.start)
        step("no secret is in environments and command lines", installation.keep_secrets)
        step("first operator, tenant, feed, paper account", installation.fill)
        step("a signal is filled", installation.trade)
        for name in KILLED:
            survive = partial(installation.survive, name)
            step(f"{name} is killed: it is healthy again, a signal is filled", survive)
        step("every container is stopped within its grace period", installation.stop_gracefully)
        step("backup, all volumes lost, restore", partial(restore_drill.run, installation))
        step("TLS by Caddy, with a certificate of its own authority", installation.serve_tls)


def step(name: str, action: Callable[[], Any]) -> Any:
    """Run one step and print how long it took."""
    began = time.monotonic()
    result = action()
    print(f"ok  {name} ({time.monotonic() - began:.0f} s)", flush=True)
    return result


if __name__ == "__main__":
    main()
