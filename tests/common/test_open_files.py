"""Each process may open as many sockets as the system allows, also if it began with 1,024."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.process.open_files import MOST, RESERVED, accounts_for, limit_of
from ops.doctor.open_files import judge_open_files
from ops.doctor.verdicts import FAIL, OK, WARN

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of /proc")


@pytest.mark.parametrize("package", ["config", "benchmarks"])
def test_process_raises_its_soft_limit_to_the_hard_one(package: str) -> None:
    code = f"import {package}, resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    line = f'ulimit -Sn 512 && ulimit -Hn 1000 && exec "{sys.executable}" -c "{code}"'
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1000", "1000"]


def test_limit_of_another_process_is_read() -> None:
    with subprocess.Popen(["bash", "-c", "ulimit -Sn 777; echo x; read"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        assert limit_of(other.pid) == 777
        other.communicate(b"\n")
    assert limit_of(other.pid) == 0


@pytest.mark.parametrize(
    ("limit", "accounts", "verdict"),
    [(0, 10_000, OK), (1024, 0, OK), (1024, 212, OK), (1024, 213, WARN), (1024, 266, WARN),
     (1024, 267, FAIL), (MOST, 100_000, OK)],
)  # fmt: skip
def test_doctor_states_how_many_accounts_fit(limit: int, accounts: int, verdict: object) -> None:
    found = judge_open_files(limit, accounts)
    assert found.result is verdict
    if limit:
        assert f"good for about {accounts_for(limit):,} accounts" in found.detail


def test_small_limit_fits_no_account() -> None:
    assert accounts_for(RESERVED - 1) == 0
