"""One installation in containers, used as its operator and a tenant use it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

from deploy.install.secret_names import NEEDED
from deploy.install.server_env import END, parse
from tests.containers.machine import HERE, Machine

PORT = 8973
API = f"http://localhost:{PORT}/api/v1"
PASSWORD = "correct-horse-battery-staple-9"
HOST = "trade.example.com"
SECONDS = 240  # of patience with a busy machine
SERVICES = ["postgres", "redis", "web", "exits", "execution", "maintenance", "sessions", "beat",
            "prices"]  # fmt: skip


def wait_for(what: str, is_so: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return the first true answer. Raises TimeoutError."""
    until, last = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        try:
            if answer := is_so():
                return answer
        except (OSError, RuntimeError, ValueError) as error:
            last = str(error)
        time.sleep(1)
    raise TimeoutError(f"not within {seconds} s: {what} {last}")


class Installation:
    """What the steps of tests.containers do."""

    def __init__(self, machine: Machine, standins: dict[str, str]) -> None:
        self.machine, self.standins = machine, standins
        self.key = self.connection = ""
        self.published = 0

    def set_up(self) -> None:
        """Write server.env by the command, and refuse to do it twice."""
        self.machine.run("deploy/setup", "--trial", "--port", str(PORT), "--memory", "2048")
        again = self.machine.run("deploy/setup", "--trial", check=False)
        assert "is not overwritten" in again, again
        path = self.machine.clone / "server.env"
        lines = "".join(f"{name}={value}\n" for name, value in self.standins.items())
        path.write_text(path.read_text().replace(END, lines + END))

    def start(self) -> None:
        """Start everything from the images; wait until each health check passes."""
        printed = self.machine.compose("up", "--detach", "--no-build")
        assert "NO E-MAIL IS SENT" in printed
        self.wait_until_healthy()

    def wait_until_healthy(self, *names: str) -> None:
        """Wait for the health checks of these services, or of all."""

        def all_well() -> bool:
            running = self.machine.containers()
            return all(
                name in running and self.machine.is_healthy(running[name])
                for name in names or SERVICES
            )

        wait_for(f"{names or 'all'} healthy", all_well)

    def keep_secrets(self) -> None:
        """No secret of server.env is in what the engine and `ps` print of the containers."""
        values, _ = parse((self.machine.clone / "server.env").read_text())
        ids = self.machine.containers().values()
        shown = self.machine.run(self.machine.engine, "inspect", *ids)
        shown += self.machine.run("ps", "axww", "-o", "args")
        assert "POSTGRES_PASSWORD_FILE" in shown
        found = [name for name, value in values.items() if name in NEEDED and value in shown]
        assert found == [], found

    def fill(self) -> None:
        """Make the first operator by the documented command, the rest as docs/first-hour.md."""
        made = self.machine.run("deploy/manage", "create_operator", "olga", give=f"{PASSWORD}\n")
        assert "olga has the role administrator" in made, made
        rows = (HERE / "first_rows.txt").read_text()
        printed = self.machine.run("deploy/manage", "shell", give=rows)
        [line] = [line for line in printed.splitlines() if line.startswith("KEY ")]
        _, self.key, preset = line.split()
        paper = self.call("POST", "/connections/paper/", {"currency": "USD", "balance": 10000})
        self.connection = paper["id"]
        path = f"/connections/{self.connection}/"
        self.call("PATCH", path, {"preset": int(preset)})
        wait_for("a healthy account", lambda: self.call("GET", path)["health_word"] == "healthy")
        self.subscribe()

    def subscribe(self) -> None:
        """Let the account take the feed's signals."""
        self.call("POST", "/subscriptions/", {"connection": self.connection, "feed": "majors"})

    def trade(self) -> None:
        """Publish a signal and wait until its order is filled."""
        self.published += 1
        before = self.filled()
        entry = {"feed": "majors", "symbol": "EUR/USD", "direction": "BUY", "sl": "1.09",
                 "external_id": f"containers-{time.time_ns()}"}  # fmt: skip
        printed = self.machine.run("deploy/manage", "publish_signal", "-", give=json.dumps(entry))
        assert '"published"' in printed or "published" in printed, printed
        wait_for(f"signal {self.published} filled", lambda: self.filled() > before)

    def filled(self) -> int:
        """Return how many entries have been filled."""
        listed = self.call("GET", "/orders/?status=FILLED&limit=100")
        rows = listed["results"] if isinstance(listed, dict) else listed
        return sum(row["leg"] == "entry" for row in rows)

    def survive(self, name: str) -> None:
        """Kill a container with -9, as a crash does; it comes back, and a signal is filled."""
        container = self.machine.containers()[name]
        self.machine.run(self.machine.engine, "kill", "--signal", "KILL", container)
        if not self.machine.has_docker:  # Docker's daemon restarts it; podman counts it as stopped
            wait_for(f"{name} ended", lambda: name in self.machine.containers("exited"))
            self.machine.run("podman", "start", container)
        self.wait_until_healthy(name)
        self.trade()

    def stop_gracefully(self) -> None:
        """Stop all; no process is killed at the end of its grace period."""
        self.machine.compose("stop")
        for name, container in self.machine.containers("exited").items():
            code = self.machine.run(
                self.machine.engine, "inspect", "--format", "{{.State.ExitCode}}", container
            ).strip()
            assert code != "137" or name == "migrate", f"{name} was killed"

    def serve_tls(self) -> None:
        """Start Caddy in front; pages come over TLS, and plain http leads there."""
        path = self.machine.clone / "server.env"
        changed = {
            "COMPOSE_PROFILES": "tls", "FILLCAST_HOST": HOST, "FILLCAST_CERTIFICATE": "internal",
            "FILLCAST_PUBLIC_URL": f"https://{HOST}",
        }  # fmt: skip
        lines = path.read_text().replace(END, "").splitlines()
        kept = [line for line in lines if line.split("=")[0] not in changed]
        kept += [f"{name}={value}" for name, value in changed.items()]
        path.write_text("\n".join([*kept, END]) + "\n")
        self.machine.compose("down", "--timeout", "30")
        self.machine.compose("up", "--detach", "--no-build")
        self.wait_until_healthy("caddy", "web")
        for scheme, port, expected in (("https", 443, "200"), ("http", 80, "308")):
            answers = partial(self._answers, scheme, port, expected)
            wait_for(f"{expected} by {scheme}", answers)

    def _answers(self, scheme: str, port: int, expected: str) -> bool:
        return expected == self.machine.run(
            "curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out",
            "%{http_code}", "--resolve", f"{HOST}:{port}:127.0.0.1", f"{scheme}://{HOST}/login/",
        )  # fmt: skip

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API as the tenant's program."""
        request = urllib.request.Request(
            API + path, method=method, data=None if body is None else json.dumps(body).encode()
        )
        request.add_header("Authorization", f"Bearer {self.key}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error
