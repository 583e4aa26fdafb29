import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from common.process.stop_signals import stop_at_signals


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield stop_at_signals()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", range(1, 12))
def test_signal_at_any_moment_of_a_wait_ends_it(
    stop: threading.Event, step: int, number: signal.Signals
) -> None:
    steps = 0

    def trace(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        steps += event == "line"
        if event == "line" and steps == step:
            signal.raise_signal(number)
            signal.raise_signal(number)  # as the kernel may send it twice
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert stop.wait(60)
    finally:
        sys.settrace(before)
    assert steps >= step
