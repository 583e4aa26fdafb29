"""Docker, or podman where there is none, and how docker-compose.yml is run with it.

Podman needs more where the machine is itself a container: a storage of its own, `runc`, limits
below those of the machine, a DNS server for the containers' names (netavark), and health checks
from here where no systemd runs them.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGES = ("podman", "runc", "debootstrap", "catatonit", "netavark", "aardvark-dns")
HELPERS = os.pathsep.join(  # where podman looks for its helpers besides PATH
    ("/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman", "/usr/local/lib/podman")
)
STORAGE = '[storage]\ndriver = "overlay"\nrunroot = "{0}/run"\ngraphroot = "{0}/graph"\n'
CONTAINERS = """\
[engine]
runtime = "runc"
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=1024:1024"]
[network]
network_backend = "netavark"
"""


class Machine:
    """Where the containers run. folder: for everything that is made, removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "clone"
        self.has_docker = _succeeds(["docker", "info"])
        self.engine = "docker" if self.has_docker else "podman"
        self.environment = dict(os.environ)

    def prepare(self) -> None:
        """Set podman up, and lay out what a new clone has."""
        self.clone.mkdir(parents=True)
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True,
        ).stdout  # fmt: skip
        for name in filter(None, tracked.decode().split("\0")):
            if (ROOT / name).is_file() and not name.startswith(".venv"):
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.clone / name)
        if not self.has_docker:
            self._prepare_podman()

    def _prepare_podman(self) -> None:
        places = os.pathsep.join((os.environ.get("PATH", os.defpath), HELPERS))
        missing = [name for name in PACKAGES if not shutil.which(name, path=places)]
        if missing:
            names = " ".join(missing)
            sys.exit(f"Docker does not answer, and podman needs: apt-get install {names}")
        (self.folder / "storage.conf").write_text(STORAGE.format(self.folder))
        (self.folder / "containers.conf").write_text(CONTAINERS)
        (self.folder / "tmp").mkdir()
        venv.create(self.folder / "venv", with_pip=True)
        python = self.folder / "venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "podman-compose"], check=True)
        self.environment |= {
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "TMPDIR": f"{self.folder}/tmp",
            "FILLCAST_COMPOSE": f"{python} -m podman_compose --podman-path {HERE}/podman-shim",
        }

    def run(self, *command: str | Path, give: str = "", check: bool = True) -> str:
        """Run a command in the clone and return what it printed."""
        result = subprocess.run(
            [str(part) for part in command], cwd=self.clone, env=self.environment, input=give,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if check and result.returncode:
            raise RuntimeError(f"{command} ended with {result.returncode}:\n{result.stdout}")
        return result.stdout

    def compose(self, *arguments: str, give: str = "", check: bool = True) -> str:
        """Run deploy/compose."""
        return self.run("deploy/compose", *arguments, give=give, check=check)

    def containers(self, state: str = "running") -> dict[str, str]:
        """Return the ids of the installation's containers in a state, by service."""
        listed = self.run(
            self.engine, "ps", "--all", "--filter", f"status={state}", "--format",
            '{{.ID}} {{.Names}}',
        )  # fmt: skip
        prefix = f"{self.clone.name}_"
        found = (line.replace("-", "_").split() for line in listed.splitlines() if line)
        return {
            name.removeprefix(prefix).rpartition("_")[0]: id_
            for id_, name in found
            if name.startswith(prefix)
        }

    def is_healthy(self, container: str) -> bool:
        """Whether a container's own health check passes now."""
        return _succeeds([self.engine, "healthcheck", "run", container], self.environment) or (
            self.has_docker
            and self.run(
                "docker", "inspect", "--format", "{{.State.Health.Status}}", container, check=False
            ).strip() == "healthy"
        )  # fmt: skip

    @contextlib.contextmanager
    def restarting(self) -> Iterator[None]:
        """Keep what Docker's daemon does without systemd: run podman's health checks."""
        ended = threading.Event()

        def loop() -> None:
            while not ended.wait(3):
                for container in self.containers().values():
                    self.is_healthy(container)

        thread = threading.Thread(target=loop, daemon=True)
        if not self.has_docker:
            thread.start()
        try:
            yield
        finally:
            ended.set()

    def clean_up(self) -> None:
        """Remove containers, volumes, images and files."""
        self.compose("down", "--volumes", "--timeout", "5", check=False)
        if not self.has_docker:
            self.run("podman", "system", "reset", "--force", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _succeeds(command: list[str], environment: dict[str, str] | None = None) -> bool:
    if not shutil.which(command[0]):
        return False
    return (
        subprocess.run(command, capture_output=True, check=False, env=environment).returncode == 0
    )
