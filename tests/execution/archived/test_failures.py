"""A death at any moment neither loses nor doubles an order."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from common.archive.overview import unlisted
from common.operational.source import VARIABLE, with_settings
from config.installation import ROOT
from execution.models import ArchivedOrder
from tests.archive.rows import archived, environment, line_ids, table
from tests.execution.archived.conftest import Past

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    # two processes import all there is, on a machine that does much else
]


@pytest.mark.parametrize("nth", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("point", ["archive.written", "archive.removed", "archive.committed"])
def test_killed_process_loses_and_doubles_no_order(
    past: Past, folder: Path, point: str, nth: int
) -> None:
    """The command itself, as a worker starts it, killed at its nth batch."""
    connection.close()
    before = {row["id"]: row for row in table("execution_order")}
    assert command(folder, f"{point}:kill:{nth}") == -signal.SIGKILL
    assert each_in_one_place(folder) == sorted(before)
    assert len(unlisted(folder)) == (0 if point == "archive.committed" else 1)
    assert command(folder, "") == 0
    assert each_in_one_place(folder) == sorted(before)
    assert line_ids(archived("orders", folder)) == past.without_fill
    for row in archived("orders", folder):
        assert {name: row[name] for name in before[row["id"]]} == before[row["id"]]


def each_in_one_place(folder: Path) -> list[int]:
    """Return all orders: those in the table, and those in files, which are the ones known so."""
    in_files = line_ids(archived("orders", folder))
    assert sorted(ArchivedOrder.objects.values_list("pk", flat=True)) == in_files
    return sorted([*in_files, *line_ids(table("execution_order"))])


def command(folder: Path, faults: str) -> int:
    """Run `manage.py archive --now` as the role of workers, two rows at once."""
    environ = {**os.environ, **environment(folder), "FILLCAST_REHEARSAL": f"failpoints={faults}"}
    environ[VARIABLE] = with_settings(environ[VARIABLE], {"retention.order_days": 400})
    line = [sys.executable, "manage.py", "archive", "--now", "--kind", "orders", "--rows", "2"]
    done = subprocess.run(line, env=environ, cwd=ROOT, capture_output=True, timeout=130)
    if done.returncode > 0:
        raise AssertionError(done.stderr.decode()[-2000:])
    return done.returncode
