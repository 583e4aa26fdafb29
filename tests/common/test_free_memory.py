"""Free memory is returned to the system, also from the middle of the heap."""

import subprocess
import sys

import pytest

PROGRAM = """
import os
from common.process.free_memory import release_free_memory

def used():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

pieces = [bytes(20_000) for _ in range(1_000)]
last = bytes(20_000)  # at the end of the heap, and in use
del pieces
before = used()
release_free_memory()
print(before - used())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has malloc_trim")
def test_free_memory_before_what_is_in_use_is_returned() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 15_000_000
