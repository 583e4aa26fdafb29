"""End a process whose tests hang, and print what each of its threads was doing.

pytest-timeout interrupts a test, but only once. If the test then waits for a thread or a server
that never ends, or if the servers do not stop after the last test, the run would last for ever and
say nothing.
"""

import atexit
import faulthandler
import os
from collections.abc import Generator

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

END_SECONDS = 120.0  # for what is stopped after the last test


class HangGuardPlugin:
    """Allows each test, and each clean-up of one, twice its timeout and `grace` seconds more.

    Then the process exits with status 1.
    """

    def __init__(self, grace: float = 60.0) -> None:
        self._grace = grace
        self._terminal: int | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        self._exit_after(2 * _timeout(item) + self._grace, item.config)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        """Clean up after the test. A failure has ended its guard: pytest cancels all of them."""
        self._exit_after(2 * _timeout(item) + self._grace, item.config)
        yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_unconfigure(self, config: pytest.Config) -> Generator[None]:
        """Allow END_SECONDS for all that is left to stop.

        A process of `-n 2` then waits, as long as the other one has tests to run. What stops at its
        exit is allowed END_SECONDS again, but a thread that never ends is not seen there.
        """
        self._exit_after(END_SECONDS, config)
        try:
            return (yield)
        finally:
            if hasattr(config, "workerinput"):  # of pytest-xdist
                faulthandler.cancel_dump_traceback_later()
                atexit.register(self._exit_after, END_SECONDS, config)  # the last one runs first

    def _exit_after(self, seconds: float, config: pytest.Config) -> None:
        if self._terminal is None:  # a copy: pytest closes its own before the servers stop
            self._terminal = os.dup(config.stash[fault_handler_stderr_fd_key])
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._terminal)


def _timeout(item: pytest.Item) -> float:
    """Return the seconds that pytest-timeout allows the test."""
    marker = item.get_closest_marker("timeout")
    given = marker.args[0] if marker and marker.args else item.config.getini("timeout")
    return float(given)
