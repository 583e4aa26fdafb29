"""Modules that run in a process of their own: doubles of brokers, readers, publishers, stacks."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

from benchmarks.environment import BenchError
from config.installation import ROOT

END_SECONDS = 60


class Program:
    """`python -m module` with pipes: lines of JSON in both directions. Its input's end ends it.

    Use it in a `with` statement.
    """

    def __init__(
        self, module: str, *arguments: object, env: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:  # fmt: skip
        self._name = module
        self.process = subprocess.Popen(
            [python, "-m", module, *map(str, arguments)], cwd=ROOT, env=env and dict(env),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def read(self) -> Any:
        """Wait for its next line and return what it states. Raises BenchError if it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"{self._name} ended with {self.process.wait(END_SECONDS)}")
        return json.loads(line)

    def write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, message: Any = None) -> Any:
        self.write(message)
        return self.read()

    def close(self) -> None:
        try:
            self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:  # it is not reading yet
            self.process.terminate()
            self.process.communicate(timeout=END_SECONDS)
