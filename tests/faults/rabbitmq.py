"""A RabbitMQ of the installed package, with a folder and ports of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import amqp

from ops.embedded.processes import KILL, signal_group, spawn, wait_until
from tests.ports import free_port

# The command in PATH changes to a user of its own, who may not write into the tests' folders.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 60


def is_installed() -> bool:
    """Return whether the package `rabbitmq-server` is here, as Debian and Ubuntu have it."""
    return PROGRAM.exists() and shutil.which("epmd") is not None


class RabbitMqServer:
    """Starts, kills and ends one node. Its messages are lost if it is killed: none is stored."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self._epmd_port, self._node_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended since."""
        return self._process is not None

    @property
    def url(self) -> str:
        """Its URL for Celery."""
        return f"amqp://guest:guest@{self.host}//"

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with (self.folder / "rabbitmq.log").open("ab") as log:
            self._process = spawn(
                [str(PROGRAM)], output=log, folder=self.folder, env=self._environ(), at_death=KILL
            )
        assert wait_until(self._answers, START_SECONDS), (self.folder / "rabbitmq.log").read_text()[
            -2000:
        ]

    def kill(self) -> None:
        """Kill it with all that it started."""
        if self._process is not None:
            signal_group(self._process.pid, KILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it and the name server that it started."""
        self.kill()
        end = ["epmd", "-port", str(self._epmd_port), "-kill"]

        def has_ended() -> bool:  # once it knows that the node has gone
            return "living" not in subprocess.run(end, capture_output=True, text=True).stdout

        assert wait_until(has_ended, START_SECONDS)

    def _environ(self) -> dict[str, str]:
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].\n")
        return {
            **os.environ,
            "HOME": str(self.folder),  # of the cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"fillcast-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        }

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "it has ended"
        try:
            with amqp.Connection(self.host, connect_timeout=1):
                return True
        except OSError:
            return False
