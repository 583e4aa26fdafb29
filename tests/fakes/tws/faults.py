"""Trouble on demand, for one order."""

from dataclasses import dataclass

SILENT = ("accept and cut", "accept in silence", "unlisted", "half", "garbage", "inactive")
"""What is accepted, and not told in the usual way."""


@dataclass
class Fault:
    """What happens to the next order. kind: see `Visitor._faulty` in server.py."""

    kind: str
    number: int = 0
    text: str = ""
    seconds: float = 0.0
