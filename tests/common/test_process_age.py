"""How long a process runs counts from its fork."""

import os
import time

from common import process_age
from common.process_age import seconds_running


def test_forked_process_begins_when_it_is_forked() -> None:
    while seconds_running() < 5:  # longer than a busy machine takes to fork
        time.sleep(0.05)
    before = seconds_running()
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, f"{seconds_running():.6f}".encode())
        os._exit(0)
    os.wait()
    assert 0 <= float(os.read(read, 20)) < before <= seconds_running()
    assert process_age._began < time.clock_gettime(time.CLOCK_BOOTTIME)
