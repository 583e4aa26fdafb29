import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import process_usage
from common.db.sql import rows
from tests.database_sessions import raw
from tests.until import until

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
IN_DATABASE = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'"


def test_sessions_are_counted_and_the_servers_own_processes_are_not() -> None:
    with raw(), raw():
        backend = rows("SELECT pg_backend_pid() AS pid")[0].pid
        children = process_usage.children_of(process_usage.parent_of(backend))
        count = process_usage.database_sessions(children)
        assert count == rows(IN_DATABASE)[0].n
        assert 3 <= count < len(children)


def test_processes_that_have_ended_count_with_their_parent() -> None:
    group = {"mine": [os.getpid()]}
    before = process_usage.cpu_seconds(group)["mine"]
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert process_usage.cpu_seconds(group)["mine"] - before > 0.25


def test_time_of_threads_that_have_ended_is_not_taken_away() -> None:
    """A thread of 0.3 s that ends between two readings; the process uses nothing else."""
    code = """
import sys, threading, time
def work():
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    print("worked", flush=True)
    sys.stdin.readline()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print("ended", flush=True)
sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        before = process_usage.cpu_seconds({"it": [process.pid]})["it"]
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        threads = Path(f"/proc/{process.pid}/task")
        until(lambda: len([*threads.iterdir()]) == 1, "the kernel still lists the thread")
        after = process_usage.cpu_seconds({"it": [process.pid]})["it"]
        process.stdin.write("\n")
        process.stdin.flush()
    assert after > before - 0.05
