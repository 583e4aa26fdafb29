"""The doctor's check of open files: whether trading processes may open enough sockets."""

import os
import socket

from django.db.models.functions import Now

from brokers.types import Check
from common.process.open_files import accounts_for, limit_of
from connections.models import ExecutionConnection
from execution.models import WorkerLease
from ops.doctor.verdicts import CheckFunction, failure, warning, well

NAME = "open files"


def open_files() -> Check:
    """Compare the lowest limit of the trading processes of this machine with the accounts."""
    trading = WorkerLease.objects.filter(host=socket.gethostname(), lease_until__gt=Now())
    limits = [limit_of(pid) for pid in trading.values_list("pid", flat=True)]
    known = [limit for limit in limits or [limit_of(os.getpid())] if limit]
    active = ExecutionConnection.objects.filter(is_active=True, archived_at=None).count()
    return judge_open_files(min(known, default=0), active)


def judge_open_files(limit: int, accounts: int) -> Check:
    """Judge the lowest limit of a process. limit: 0: not known. accounts: that are active."""
    if not limit:
        return well(NAME, "This system does not state how many files a process may open.")
    most = accounts_for(limit)
    detail = (
        f"A process may open {limit:,} files and sockets: good for about {most:,} accounts;"
        f" {accounts:,} are active."
    )
    remedy = (
        "Raise the hard limit of the user or service (`ulimit -Hn`, LimitNOFILE, --ulimit nofile)"
        " and restart: each process raises its own to it. Or share the accounts among more workers."
    )
    if accounts > most:
        return failure(NAME, detail, remedy)
    return warning(NAME, detail, remedy) if accounts > most * 0.8 else well(NAME, detail)


CHECKS: list[tuple[str, CheckFunction]] = [(NAME, open_files)]
