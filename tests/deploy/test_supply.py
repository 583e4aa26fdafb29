"""deploy/supply.sh audit: an index that does not answer is no proof that nothing is wrong."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTPUTS = {
    "clean": ("No known vulnerabilities found", 0, 0),
    "found": ("Found 2 known vulnerabilities in 1 package\nx 1.0 PYSEC-1", 1, 1),
    "not listed": (
        "No known vulnerabilities found\nx  Dependency not found on PyPI and could not be audited",
        0, 3,
    ),
    "no answer": ("ConnectionError: refused", 1, 3),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTPUTS)
def test_audit_ends_with_what_was_found(tmp_path: Path, case: str) -> None:
    output, code, expected = OUTPUTS[case]
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy/supply.sh", tmp_path / "deploy")
    tool = tmp_path / "var/supply-venv/bin/pip-audit"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit {code}\n")
    tool.chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "deploy/supply.sh"), "audit"], capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stdout
    assert ("no known faults" in done.stdout) == (expected == 0)
    assert ("PYSEC-1" in done.stdout) == (case == "found")
    assert ("not audited" in done.stdout) == (expected == 3)


def test_audit_without_its_tool_states_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy/supply.sh", tmp_path / "deploy")
    line = [str(tmp_path / "deploy/supply.sh"), "audit"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, "make sbom" in done.stdout) == (3, True)
