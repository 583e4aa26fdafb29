"""Memory for the frames of a test's functions, mapped once for the test.

Python keeps the frames of its functions in chunks of 16 KB. It maps another chunk when a call does
not fit into the last one, and unmaps it when that call returns. A loop that calls at the end of a
chunk does both each time: a quarter of the processor time of a request. A frame that is as large as
all others together makes Python map a chunk in which they fit too.
"""

from collections.abc import Callable
from typing import Any

import pytest
from _pytest import runner

SLOTS = 1 << 16  # of 8 bytes; only memory that is used is ever allocated


class FrameMemoryPlugin:
    """Runs each test, with its fixtures, in a large frame."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run the test as pytest does."""
        return bool(_in_a_large_frame(runner.pytest_runtest_protocol, item, nextitem))


def _in_a_large_frame(call: Callable[..., Any], *arguments: Any) -> Any:
    return call(*arguments)


_in_a_large_frame.__code__ = _in_a_large_frame.__code__.replace(co_stacksize=SLOTS)
