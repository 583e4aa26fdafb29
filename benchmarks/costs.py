"""What items cost: CPU of each process and, where the server counts them, statements."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from benchmarks.environment import BenchEnvironment
from benchmarks.process_usage import Meter
from benchmarks.statements import StatementMeter


class Metered(Protocol):
    """Counts what is used while items are processed."""

    def over(self, items: int) -> contextlib.AbstractContextManager[None]:
        """Count what is used inside for this number of items."""
        ...


class Costs:
    """CPU and statements per item, over several rounds."""

    def __init__(self, environment: BenchEnvironment) -> None:
        self.cpu = Meter(environment.pids)
        self.statements = StatementMeter(environment.sql)

    @contextlib.contextmanager
    def over(self, items: int) -> Iterator[None]:
        """Count both inside. Reading the figures of statements is not counted as CPU."""
        with self.statements.over(items), self.cpu.over(items):
            yield
