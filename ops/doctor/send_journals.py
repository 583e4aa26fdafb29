"""The doctor's check of the journals of sends: they prove what a killed worker had not sent."""

import socket
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db.models.functions import Now

from brokers.types import Check
from common.web.formatting import join_first
from execution.dispatch.journal_folder import (
    SUFFIX,
    filesystem_of,
    is_in_memory,
    journal_folder,
    journal_root,
    machine_start_id,
)
from execution.models import WorkerLease
from ops.doctor.verdicts import CheckFunction, warning, well

NAME = "send journals"


def send_journals() -> Check:
    """Check that the trading processes of this machine keep journals, and that these are in memory.

    Without one trading goes on: what a killed worker had in hand is looked up for a minute.
    """
    if settings.FILLCAST_DB_ROLE == "web":
        return well(NAME, "Workers keep them, not the web process.")
    if not machine_start_id():
        remedy = "Run workers on Linux if what a killed one had in hand must be sent at once."
        return warning(NAME, "This system keeps none.", remedy)
    trading = WorkerLease.objects.filter(host=socket.gethostname(), lease_until__gt=Now())
    ids = sorted(trading.values_list("id", flat=True))
    if not ids:
        return well(NAME, "No process trades on this machine: ask where a worker runs.")
    kept = {path.name.removesuffix(SUFFIX) for path in journal_folder().glob(f"*{SUFFIX}")}
    return judge_send_journals(journal_root(), ids, [one for one in ids if one not in kept])


def judge_send_journals(root: Path, ids: Sequence[str], missing: Sequence[str]) -> Check:
    """Judge where the journals are. ids: this machine's trading processes. missing: those without
    one."""
    if missing:
        remedy = (
            "Their logs state why (“orders of this process will be looked up”). Give all workers of"
            " a machine the same FILLCAST_VAR and sends/ in it, and restart them."
        )
        number = f"{len(missing)} of {len(ids)} trading processes here"
        detail = f"{number} keep none in {root}: {join_first(missing, 3)}."
        return warning(NAME, detail, remedy)
    existing = root
    while not existing.exists():
        existing = existing.parent
    if not is_in_memory(existing):
        kind = filesystem_of(existing) or "not a tmpfs"
        remedy = "Mount a tmpfs that the workers share at sends/ in FILLCAST_VAR."
        detail = f"They are in {root} ({kind}): a disk that stands still holds up orders."
        return warning(NAME, detail, remedy)
    return well(NAME, f"In memory, in {root}; {len(ids)} processes trade here.")


CHECKS: list[tuple[str, CheckFunction]] = [(NAME, send_journals)]
