"""The document that replaces the variables of an earlier release, before they are removed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.operational.reading import KEYS, dump
from common.operational.source import base_of
from config.env import Settings
from config.env_variables import InvalidEnvironmentError
from config.moved_settings import MOVED

ROOT = Path(__file__).resolve().parents[2]
OLD: dict[str, tuple[str, Any]] = {
    "FILLCAST_BROKER_MAINTENANCE_WINDOWS": ("no", False),
    "FILLCAST_BROKER_NETWORKS": ("10.0.0.0/8, 127.0.0.0/8,", ["10.0.0.0/8", "127.0.0.0/8"]),
    "FILLCAST_GATEWAY_OWNERS": ("10.0.0.5=alice", ["10.0.0.5/32=alice"]),
    "FILLCAST_LOG_LEVEL": ("WARNING", "WARNING"),
    "FILLCAST_OUTBOUND_NETWORKS": ("192.168.0.0/16", ["192.168.0.0/16"]),
    "FILLCAST_PUSH_CONTACT": ("ops@firm.example", "ops@firm.example"),
    "FILLCAST_QUOTAS": ("presets=400,api-keys=500", {"presets": 400, "API keys": 500}),
    "FILLCAST_RETENTION_AUDIT_RUN_DAYS": ("never", "never"),
    "FILLCAST_RETENTION_LOG_DAYS": ("45", 45),
    "FILLCAST_RETENTION_ORDER_DAYS": ("800", 800),
    "FILLCAST_SIGN_UP": ("off", "off"),
    "FILLCAST_SLIPPAGE_ALERT_PIPS": ("2.5", "2.5"),
    "FILLCAST_STAFF_SECOND_FACTOR": ("Yes", True),
    "FILLCAST_ABSENCE_GAP_SECONDS": ("90", 90),
    "FILLCAST_ARCHIVE_FOLDER": ("/srv/archive", "/srv/archive"),
}
NUMBERS = {
    name: ("5", 5) for name, path in MOVED.items() if "number from" in KEYS[path].kind.expected
}
ALL = {
    **NUMBERS,
    **{name: ("90", 90) for name in MOVED if "RETENTION_" in name},
    "FILLCAST_SESSION_IDLE_SECONDS": ("60", 60),
    "FILLCAST_UNKNOWN_ALERT_SECONDS": ("60", 60),
    **{name: given for name, given in OLD.items() if name in MOVED},
}


def printed(
    variables: dict[str, str], *arguments: str, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command as on a server that has Python and none of our packages (-S)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FILLCAST_")}
    return subprocess.run(
        [sys.executable, "-S", "-m", "config.old_variables", *arguments],
        env={**kept, **variables}, input=text, cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def values_of(document: Any) -> dict[str, Any]:
    return {
        name: document[group][key]
        for name, path in MOVED.items()
        for group, key in [path.split(".")]
        if key in document.get(group, {})
    }


def test_document_has_what_every_old_variable_meant() -> None:
    old = {name: text for name, (text, _) in ALL.items()}
    assert set(old) == set(MOVED)
    with pytest.raises(InvalidEnvironmentError, match=r"python -m config\.old_variables"):
        Settings.read(old)
    done = printed(old)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    expected = {name: value for name, (_, value) in ALL.items()}
    assert values_of(json.loads(done.stdout)) == expected
    environment = {"FILLCAST_SETTINGS_SOURCE": done.stdout.strip()}
    source = Settings.read(environment).settings_source
    assert source is not None
    assert values_of(dump(base_of(source))) == expected


def test_document_has_nothing_but_what_is_set(tmp_path: Path) -> None:
    lines = (
        "# of 0.1.0\nexport FILLCAST_POLL_SECONDS=1  # quick\nFILLCAST_SIGN_UP=\n"
        "FILLCAST_SECRET_KEY='canary'\nFILLCAST_QUOTAS=\"presets=400\"\n"
    )
    path = tmp_path / "old.env"
    path.write_text(lines)
    expected = {"execution": {"poll_seconds": 1}, "users": {"quotas": {"presets": 400}}}
    for done in (printed({}, str(path)), printed({}, "-", text=lines)):
        assert json.loads(done.stdout) == expected
        assert "canary" not in done.stdout + done.stderr
        assert done.stderr.startswith("2 variables: FILLCAST_POLL_SECONDS, FILLCAST_QUOTAS")
    assert printed({}).stdout == "{}\n"


def test_every_malformed_old_variable_is_reported(tmp_path: Path) -> None:
    wrong = {
        "FILLCAST_POLL_SECONDS": "9", "FILLCAST_SIGN_UP": "maybe", "FILLCAST_QUOTAS": "presets",
        "FILLCAST_BROKER_MAINTENANCE_WINDOWS": "perhaps",
    }  # fmt: skip
    done = printed(wrong)
    assert (done.returncode, done.stdout) == (1, "")
    assert all(f"{name} is '{text}'; " in done.stderr for name, text in wrong.items())
    gap = printed({"FILLCAST_ABSENCE_GAP_SECONDS": "4"})
    assert (gap.returncode, "execution.absence_gap_seconds" in gap.stderr) == (1, True)
    assert "cannot be read" in printed({}, str(tmp_path / "none")).stderr
    assert "python -m config.old_variables [FILE]" in printed({}, "--help").stderr
