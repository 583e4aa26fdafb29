"""How long a terminal is waited for, and what is remembered of a command that has left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brokers.dwx import file_io, parse
from brokers.dwx.parse import MalformedError

RETRY_SECONDS = 0.015  # until a file that is half-written is read again


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. take: until a command file is taken, else it is withdrawn; answer: until the
    outcome is seen; stale: how old the orders file may be; settle: how long after an unanswered
    order its absence proves nothing, since the terminal itself may be waiting for the broker;
    reopen: how long a MetaTrader 5 server may open again what it has closed automatically."""

    take: float = 2.0
    answer: float = 20.0
    stale: float = 5.0
    settle: float = 60.0
    reopen: float = 60.0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Timeouts":
        """Read `take_seconds` and so on."""
        values = {}
        for name in ("take", "answer", "stale", "settle", "reopen"):
            try:
                values[name] = min(600.0, max(0.05, float(settings[f"{name}_seconds"])))
            except (KeyError, TypeError, ValueError):
                continue
        return cls(**values)


@dataclass(frozen=True, slots=True)
class SentMark:
    """A command that has left: its number, the messages there were before it."""

    number: int
    before: frozenset[tuple[int, str]]


def messages_now(path: Path) -> frozenset[tuple[int, str]]:
    """The messages there are. Were one overlooked it would later count as news: so a file that
    stays half-written is an OSError. Touches the disk."""
    for _ in range(50):
        try:
            found = parse.messages(file_io.read(path))
        except FileNotFoundError:
            return frozenset()
        except (MalformedError, OSError):
            time.sleep(RETRY_SECONDS)
        else:
            return frozenset((one.key, one.text) for one in found)
    raise OSError("DWX_Messages.txt stays half-written")
