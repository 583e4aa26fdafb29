"""The operational settings of a test: the defaults, until it sets others; none is validated.

A test of the store and of processes that follow it is in tests/common/operational.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from common.operational import current
from common.operational.document import Document, Maintenance

# Brokers' maintenance windows depend on the hour and weekday. At night and at weekends errors would
# be suppressed and entries deferred. Tests of windows switch them on.
OF_TESTS = Document(maintenance=Maintenance(broker_windows=False))


def reset() -> None:
    """Let the settings be those with which each test begins."""
    current.hold(OF_TESTS)


def set_setting(path: str, value: Any) -> None:
    """Set one setting, such as `execution.poll_seconds`, until the test ends."""
    document = current.settings_now()
    group, _, name = path.partition(".")
    changed = replace(getattr(document, group), **{name: value})
    current.hold(replace(document, **{group: changed}))


def set_quota(kind: str, number: int) -> None:
    """Let one owner have so many rows of a kind, until the test ends."""
    quotas = current.settings_now().users.quotas
    set_setting("users.quotas", {**quotas, kind: number})


@contextmanager
def quota_of(kind: str, number: int) -> Iterator[None]:
    """Let one owner have so many rows of a kind within the block."""
    before = current.settings_now()
    set_quota(kind, number)
    try:
        yield
    finally:
        current.hold(before)
