"""A program that supervises a fork server and two forks, for the tests that kill it.

python -m tests.ops.stack.fork_stack FOLDER
"""

import os
import sys
from pathlib import Path

from config.installation import ROOT
from ops.stack.process import ProcessSpec
from ops.stack.supervisor import Supervisor

IMPORTS = "tests.ops.stack.fork_imports"
FORKED = (sys.executable, "-m", "tests.ops.stack.forked_program")


def fork_server(function: str = "import_all") -> ProcessSpec:
    """Return the spec of a fork server that imports little."""
    line = (sys.executable, "-m", "ops.stack.fork_program", f"{IMPORTS}:{function}")
    return ProcessSpec("fork-server", line, announces=True, stop_seconds=1)


def forked(name: str, *arguments: str, **fields: int | float) -> ProcessSpec:
    """Return the spec of a process that is forked and states what it is."""
    return ProcessSpec(name, (*FORKED, *arguments), forked=True, **fields)  # type: ignore[arg-type]


def main(folder: Path) -> int:
    """Run until a signal."""
    supervisor = Supervisor(
        [forked("a"), forked("b", "--stubborn")],
        environ=os.environ,
        logs=folder,
        folder=ROOT,
        report=print,
        fork_server=fork_server(),
    )
    supervisor.start()
    return supervisor.run_forever()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
