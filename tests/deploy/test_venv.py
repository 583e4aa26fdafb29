"""`make venv`: which Python it takes, and what it says about it."""

import os
import subprocess
from pathlib import Path

import pytest

from config.installation import ROOT

pytestmark = pytest.mark.processes

SCRIPT = ROOT / "deploy" / "venv.sh"
# What the script asks of a Python: its version, its modules, its build; then a virtual environment.
DOUBLE = """#!/bin/bash
case "$*" in
  config/python_build.py) exit {build} ;;
  "-m venv "*) mkdir -p "$3/bin"; ln -s "$0" "$3/bin/python" ;;
esac
"""


def _python(folder: Path, *, is_optimized: bool) -> Path:
    folder.mkdir()
    path = folder / "python3.12"
    path.write_text(DOUBLE.format(build=0 if is_optimized else 1))
    path.chmod(0o755)
    return path


def _make(folder: Path, **env: str) -> tuple[int, Path, str]:
    """Return the exit code, the Python that the environment has, and what was printed."""
    venv = folder / "venv"
    made = subprocess.run(
        [str(SCRIPT), str(venv)],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return made.returncode, (venv / "bin" / "python").resolve(), made.stderr


def test_python_with_optimizations_is_preferred(tmp_path: Path) -> None:
    _python(tmp_path / "first", is_optimized=False)
    optimized = _python(tmp_path / "second", is_optimized=True)
    path = f"{tmp_path}/first:{tmp_path}/second:{os.environ['PATH']}"
    code, chosen, printed = _make(tmp_path, PATH=path)
    assert (code, chosen) == (0, optimized), printed
    assert "without optimizations" not in printed


def test_named_python_is_taken_with_a_warning_if_it_has_none(tmp_path: Path) -> None:
    named = _python(tmp_path / "named", is_optimized=False)
    code, chosen, printed = _make(tmp_path, FILLCAST_PYTHON=str(named))
    assert (code, chosen) == (0, named), printed
    assert f"{named} was built without optimizations" in printed
    assert "FILLCAST_PYTHON=/path/to/python make venv" in printed


@pytest.mark.parametrize("named", ["/bin/false", "/nowhere/python"])
def test_named_program_that_is_no_python_is_an_error(tmp_path: Path, named: str) -> None:
    code, _, printed = _make(tmp_path, FILLCAST_PYTHON=named)
    assert code == 1
    assert printed.startswith(f"FILLCAST_PYTHON={named} is no Python 3.11, 3.12 or 3.13.\n")
