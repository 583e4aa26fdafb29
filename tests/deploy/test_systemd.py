"""systemd units for one machine without containers: verified by systemd itself."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.install.secret_files import SECRETS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
PYTHON = "opt/fillcast/current/.venv/bin/python"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def instance(name: str) -> str:
    return name.replace("@.", "@1.")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder like a machine's root, with the units and what they start."""
    shutil.copytree(FOLDER, tmp_path / "etc/systemd/system")
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    python = tmp_path / PYTHON
    python.parent.mkdir(parents=True)
    shutil.copy("/bin/true", python)
    return tmp_path


def analyze(machine: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", f"--root={machine}", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@needs_systemd
def test_systemd_accepts_every_unit(machine: Path) -> None:
    names = [instance(name) for name in UNITS]
    assert analyze(machine, "verify", "--man=no", "fillcast.target", *names) == (0, "")


@needs_systemd
def test_systemd_would_report_a_wrong_line(machine: Path) -> None:
    with (machine / "etc/systemd/system" / UNITS[0]).open("a") as file:
        file.write("Restrat=always\n")
    assert "Restrat" in analyze(machine, "verify", "--man=no", instance(UNITS[0]))[1]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_unit_is_confined(machine: Path, name: str) -> None:
    """systemd's own measure of exposure, from 0 to 100; most services of a system are near 95."""
    line = ["security", "--offline=true", "--threshold=20", "--no-pager", instance(name)]
    code, output = analyze(machine, *line)
    assert code == 0, output


def values(name: str, key: str) -> list[str]:
    text = (FOLDER / name).read_text()
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def command(name: str) -> list[str]:
    (line,) = values(name, "ExecStart")
    return shlex.split(line)[1:]


def compose_services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return {name: service for name, service in found.items() if service.get("image") == "fillcast"}


def queue_of(words: list[str]) -> str:
    return words[words.index("-Q") + 1] if "-Q" in words else words[-1]


def test_units_run_what_compose_runs() -> None:
    """The same processes, with the same pool and queue."""
    units = {re.findall(r"server-(\w+)", name)[0]: command(name) for name in UNITS}
    services = compose_services()
    assert units.keys() == services.keys()
    for name in ("exits", "execution", "maintenance", "sessions"):
        theirs = shlex.split(services[name]["command"])
        assert queue_of(units[name]) == queue_of(theirs) == name
        assert units[name][units[name].index("-P") :][:2] == theirs[theirs.index("-P") :][:2]


def test_target_starts_every_process() -> None:
    wanted = set(" ".join(values("fillcast.target", "Wants")).split())
    migrate = "fillcast-server-migrate.service"
    buses = {"fillcast-server-buses.service", "fillcast-server-receiver.service"}  # if used
    expected = {instance(name) for name in UNITS} - buses - {migrate}
    assert wanted == expected | {"fillcast-server-execution@2.service"}
    for name in set(UNITS) - {migrate}:  # waits for it, but does not end with its restart
        assert values(name, "After") == values(name, "Wants") == [migrate]
        assert values(name, "Restart") == ["always"]
        assert not values(name, "Requires")
    for name in buses:  # enabled by hand, they start and stop with the others
        assert values(name, "WantedBy") == ["fillcast.target"]


@pytest.mark.parametrize("name", UNITS)
def test_unit_has_the_secrets_of_its_role_only(name: str) -> None:
    (role,) = re.findall(
        r"^Environment=FILLCAST_DB_ROLE=(\w+)$", (FOLDER / name).read_text(), re.MULTILINE
    )
    loaded = dict(value.split(":") for value in values(name, "LoadCredential"))
    assert loaded == {secret: f"/etc/fillcast/secrets/{role}/{secret}" for secret in SECRETS[role]}
    assert role == {"web": "web", "migrate": "owner"}.get(name.split("-")[2].split(".")[0], "trade")


def test_common_settings_apply_to_no_other_unit() -> None:
    """A drop-in of a prefix: the units of MetaTrader 5 workers have a user of their own."""
    (folder,) = [path for path in FOLDER.iterdir() if path.is_dir()]
    prefix = folder.name.removesuffix(".service.d")
    assert all(name.startswith(prefix) for name in UNITS)
    others = list((ROOT / "deploy/windows").glob("*.service"))
    assert others
    assert not any(path.name.startswith(prefix) for path in others)


STARTED = [
    *("execution@1", "execution@2", "exits", "maintenance", "sessions", "prices", "beat", "web"),
    *("buses", "receiver"),
]
OPTIONAL = ("buses", "receiver")


@pytest.mark.parametrize("broken", ["nothing", "migrate", "exits", "buses"])
def test_upgrade_ends_at_the_first_unit_that_does_not_start(broken: str, tmp_path: Path) -> None:
    """The page's own lines, with commands that only note what they would do."""
    page = (ROOT / "docs/systemd.md").read_text()
    (block,) = re.findall(r"^```\n(ln -sfn NEW .*?)^```$", page, re.MULTILINE | re.DOTALL)
    for name in ("ln", "cp", "sleep", "systemctl"):
        file = tmp_path / name
        text = f'#!/bin/sh\necho "$*" >> {tmp_path}/{name}.log\n'
        file.write_text(text + f'case "$*" in *-{broken}) exit 1;; esac\n')
        file.chmod(0o755)
    subprocess.run(["bash", "-c", block], env={"PATH": f"{tmp_path}:/bin"}, check=False)
    lines = (tmp_path / "systemctl.log").read_text().split("\n")[:-1]
    assert lines[0] == "daemon-reload"
    expected = ["migrate", *STARTED]
    if broken != "nothing":
        expected = expected[: expected.index(broken) + 1]
    assert lines[1:] == [
        f"{'try-restart' if unit in OPTIONAL else 'restart'} fillcast-server-{unit}"
        for unit in expected
    ]
