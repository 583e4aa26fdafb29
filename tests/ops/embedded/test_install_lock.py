"""The lock of an installation: one holder at a time, with details for the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.embedded.install_lock import AlreadyRunningError, InstallLock, holder_info
from ops.embedded.servers import Servers, running_urls

HOLDER = (
    "import sys, pathlib\n"
    "from ops.embedded.install_lock import InstallLock\n"
    "with InstallLock(pathlib.Path(sys.argv[1]), 'make demo') as lock:\n"
    "    lock.publish(url='http://localhost:8012/', children=[[1, 'x']])\n"
    "    print('held', flush=True)\n    sys.stdin.read()\n"
)


def hold_in_other_process(folder: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_second_process_is_refused_with_the_first_ones_details(tmp_path: Path) -> None:
    with hold_in_other_process(tmp_path) as holder:
        with pytest.raises(AlreadyRunningError) as e, InstallLock(tmp_path, "second"):
            pass
        holder.kill()
    expected = f"(make demo, pid {holder.pid}, http://localhost:8012/)"
    assert str(e.value).startswith(f"Fillcast is already running {expected}")


def test_next_holder_after_a_kill_gets_the_previous_details(tmp_path: Path) -> None:
    with hold_in_other_process(tmp_path) as holder:
        holder.kill()
    assert holder_info(tmp_path) == {}
    with InstallLock(tmp_path, "next") as lock:
        assert lock.previous_info["children"] == [[1, "x"]]
        assert holder_info(tmp_path) == {"what": "next", "pid": os.getpid()}


def test_details_are_readable_only_by_the_owner(tmp_path: Path) -> None:
    with InstallLock(tmp_path, "x") as lock:
        lock.publish(DATABASE_URL="postgresql://a:b@c/d")
        assert (tmp_path / "running.json").stat().st_mode & 0o077 == 0
        assert running_urls(tmp_path) == {"DATABASE_URL": "postgresql://a:b@c/d"}
    assert running_urls(tmp_path) == {}
    assert not (tmp_path / "running.json").exists()


def test_only_servers_without_url_are_started(folder: Path) -> None:
    named = {"DATABASE_URL": "postgresql://elsewhere/x", "REDIS_URL": ""}
    with Servers(folder, named) as servers:
        assert servers.postgres is None
        assert servers.urls["DATABASE_URL"] == "postgresql://elsewhere/x"
        assert servers.urls["REDIS_URL"].startswith("redis://:")
