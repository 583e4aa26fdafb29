"""How long a process runs counts from its fork."""

import os
import time

import pytest

from common.clocks import machine_time
from common.process import process_age
from common.process.process_age import seconds_running


def test_forked_process_begins_when_it_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        process_age, "_began", machine_time() - 1000
    )  # no machine forks for so long
    before = seconds_running()
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, f"{seconds_running():.6f}".encode())
        os._exit(0)
    os.wait()
    assert 0 <= float(os.read(read, 20)) < before <= seconds_running()
    assert process_age._began < time.clock_gettime(time.CLOCK_BOOTTIME)
