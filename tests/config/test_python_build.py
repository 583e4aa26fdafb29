"""Whether a Python was built with optimizations, by what its build has noted."""

import subprocess
import sys
import sysconfig

import pytest

from config import python_build
from config.installation import ROOT


@pytest.mark.parametrize(
    ("profile_flag", "options", "is_optimized"),
    [
        ("-fprofile-use", "'--prefix=/usr/local' '--enable-optimizations'", True),  # Docker's
        ("-fprofile-use", "'--prefix=/root/.pyenv' '--enable-shared'", False),
        ("", "'--prefix=/usr' '--with-system-ffi'", True),  # Debian's, by a make target
        (None, None, True),  # Windows'
    ],
)
def test_build_is_judged_by_its_options(
    monkeypatch: pytest.MonkeyPatch,
    profile_flag: str | None,
    options: str | None,
    is_optimized: bool,
) -> None:
    noted = {"PGO_PROF_USE_FLAG": profile_flag, "CONFIG_ARGS": options}
    monkeypatch.setattr(sysconfig, "get_config_var", noted.get)
    assert python_build.is_optimized() is is_optimized


def test_program_answers_for_the_python_that_runs_it() -> None:
    done = subprocess.run([sys.executable, ROOT / "config" / "python_build.py"], check=False)
    assert (done.returncode == 0) is python_build.is_optimized()
