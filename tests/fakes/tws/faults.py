"""Faults for one order."""

from dataclasses import dataclass

SILENT = ("accept and cut", "accept in silence", "unlisted", "half", "garbage", "inactive")
"""Faults that accept the order and do not report it in the usual way."""


@dataclass
class Fault:
    """A fault for the next order. kind: see `ClientSession._faulty`."""

    kind: str
    number: int = 0
    text: str = ""
    seconds: float = 0.0
