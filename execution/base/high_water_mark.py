"""The database's high-water mark: what it proves, and how a transaction reads it before it acts.

`disaster_recovery/restore_detector.py` keeps the highest one outside of the database.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.db import ProgrammingError

from common.db.sql import kept_plans
from connections.models import Epoch
from connections.selectors import CURRENT_EPOCH_SQL

MARK_SEQUENCE = "fillcast_mark"  # its value, the high-water mark, is also kept outside the database
TIMELINE_SQL = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """The highest sequence value seen of a database, and which database it was.

    cluster, timeline: '' if the server does not allow reading them.
    """

    lineage: str
    epoch: int
    mark: int
    cluster: str = ""
    timeline: str = ""


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Why the database is believed to have lost rows."""

    cause: str
    known: HighWaterMark
    seen: HighWaterMark

    def evidence(self) -> dict[str, Any]:
        """Return both high-water marks, as the epoch stores them."""
        return {"known": asdict(self.known), "seen": asdict(self.seen)}


class DataLossSuspectedError(Exception):
    """The server of this transaction may have lost rows: nothing of the transaction may stay."""


def find_loss(seen: HighWaterMark, known: HighWaterMark | None) -> DataLoss | None:
    """Return the loss that two high-water marks of a database prove, if any. Pure."""
    if known is None or known.lineage != seen.lineage or known.epoch < seen.epoch:
        return None
    if seen.epoch < known.epoch or seen.mark < known.mark:
        return DataLoss(Epoch.Cause.BEHIND, known, seen)
    same_server = bool(known.cluster) and known.cluster == seen.cluster
    if same_server and known.timeline and seen.timeline and known.timeline != seen.timeline:
        return DataLoss(Epoch.Cause.PROMOTED, known, seen)
    return None


def newer(first: HighWaterMark | None, other: HighWaterMark | None) -> HighWaterMark | None:
    """Return the higher of two marks; the first if their lineages differ. None counts as lowest."""
    if first is None or other is None or first.lineage != other.lineage:
        return first or other
    return max(first, other, key=lambda mark: (mark.epoch, mark.mark))


# ---- inside of a transaction that acts on what it reads ------------------------------------------
_COLUMNS = f"""(SELECT last_value FROM {MARK_SEQUENCE}) AS mark,
  coalesce((SELECT number FROM ({CURRENT_EPOCH_SQL}) e), 0) AS epoch"""
_WITH_TIMELINE = f"{_COLUMNS}, {TIMELINE_SQL} AS timeline"
_WITHOUT_TIMELINE = f"{_COLUMNS}, '' AS timeline"


@contextlib.contextmanager
def checked_plans(known: HighWaterMark | None) -> Iterator[None]:
    """Enter `kept_plans`, unless this transaction's server is behind what was known before it.

    Behind a pooler any transaction may have another server, but none has two. Reading it is part of
    the statement that keeps the plans. The server's identity and the lineage take longer to read
    and are taken to be the known ones, so another database may be suspected, too: the detector's
    own check decides.

    known: taken before the transaction began; None is not compared. Raises DataLossSuspectedError.
    """
    with contextlib.ExitStack() as stack:
        try:
            seen = stack.enter_context(kept_plans(reading=_columns(known)))
        except ProgrammingError as error:  # another server, which does not allow reading it
            raise DataLossSuspectedError(str(error).strip()) from error
        if known is not None:
            here = replace(known, mark=seen.mark, epoch=seen.epoch, timeline=seen.timeline)
            if (loss := find_loss(here, known)) is not None:
                raise DataLossSuspectedError(f"{loss.cause}: {loss.evidence()}")
        yield


def refuse_server_behind(known: HighWaterMark | None) -> None:
    """Raise DataLossSuspectedError if this transaction's server is behind, as `checked_plans`."""
    if known is not None:
        with checked_plans(known):
            pass


def _columns(known: HighWaterMark | None) -> str:
    """Return the columns to read: without a timeline if it could not be read before either."""
    if known is None:
        return ""
    return _WITH_TIMELINE if known.timeline else _WITHOUT_TIMELINE
