"""What is read back is what was removed: every type, every column, every row."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import Settings

from common.archive.column_types import UnknownTypeError
from common.archive.kinds import ArchiveKind
from common.archive.parquet_files import ArchiveDamagedError
from common.models import ArchiveFile
from config.retention import KINDS
from execution.models import Order
from tests.archive.rows import archive, archived, line_ids, make_old, old_lines, table
from tests.connections import make
from tests.operational import set_setting
from tests.users import world

pytestmark = pytest.mark.django_db
SAMPLES = ArchiveKind(
    name="samples", what="Samples of every type", setting="log_days",
    table="archive_sample", times=("done_at", "at"),
)  # fmt: skip
TYPES = """
id bigint PRIMARY KEY, at timestamptz NOT NULL, done_at timestamptz, amount numeric(38, 18),
  free numeric, key uuid, payload jsonb, name varchar(20), words text, small smallint,
  whole integer, share double precision, is_on boolean, sealed bytea, day date, quiet time,
  ids bigint[], fractions numeric(38, 18)[]
"""
FULL = """
INSERT INTO archive_sample VALUES (1, '2020-02-29 12:34:56.789123+02', NULL,
  '-12345678901234567890.123456789012345678', '0.1000', '0b6f9c1e-0000-4000-8000-00000000000a',
  '{"b": [1, null, "ü"], "a": {"n": 10.50}}', 'Name', E'two\\nlines "quoted"', -3, 2147483647,
  0.1, true, '\\x00ff', '2020-02-29', '23:59:59.999999', '{1,2}', '{0.5,0.25}')
"""
EMPTY = "INSERT INTO archive_sample (id, at, done_at) VALUES (2, '2020-03-01Z', '2020-03-02Z')"


@pytest.fixture
def samples() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE archive_sample ({TYPES})")
        cursor.execute(FULL)
        cursor.execute(EMPTY)


def test_every_type_is_read_back_as_it_was(samples: None, folder: Path) -> None:
    before = table("archive_sample")
    assert before[0]["amount"] == Decimal("-12345678901234567890.123456789012345678")
    assert archive(SAMPLES, folder) == 2
    assert table("archive_sample") == []
    found = archived(SAMPLES, folder)
    assert found == before
    first, second = found
    assert first["at"] == datetime(2020, 2, 29, 10, 34, 56, 789123, tzinfo=UTC)
    assert str(first["free"]) == "0.1000"  # its scale, too
    assert first["key"] == UUID("0b6f9c1e-0000-4000-8000-00000000000a")
    assert (first["sealed"], first["day"]) == (b"\x00\xff", date(2020, 2, 29))
    assert first["quiet"] == time(23, 59, 59, 999999)
    assert first["payload"] == {"a": {"n": 10.5}, "b": [1, None, "ü"]}
    assert {name for name, value in second.items() if value is not None} == {"id", "at", "done_at"}


def test_time_filter_is_half_open_and_by_the_row_own_time(samples: None, folder: Path) -> None:
    archive(SAMPLES, folder)
    done = datetime(2020, 3, 2, tzinfo=UTC)  # the second row's done_at, not its at
    assert line_ids(archived(SAMPLES, folder, since=done)) == [2]
    assert line_ids(archived(SAMPLES, folder, until=done)) == [1]
    assert line_ids(archived(SAMPLES, folder, equal={"whole": 2147483647})) == [1]
    assert archived(SAMPLES, folder, equal={"no_such_column": 1}) == []


def test_table_with_unknown_type_is_left_alone(samples: None, folder: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_sample ADD COLUMN place point")
    with pytest.raises(UnknownTypeError, match="place is point"):
        archive(SAMPLES, folder)
    assert len(table("archive_sample")) == 2
    assert not folder.exists()


def test_older_file_is_read_after_a_column_was_added(samples: None, folder: Path) -> None:
    archive(SAMPLES, folder)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_sample ADD COLUMN more text, DROP COLUMN free")
        cursor.execute("INSERT INTO archive_sample (id, at, more) VALUES (3, '2020-04-01Z', 'x')")
    archive(SAMPLES, folder)
    found = archived(SAMPLES, folder)
    assert line_ids(found) == [1, 2, 3]
    assert ("more" in found[0], found[2]["more"]) == (False, "x")


def test_every_kind_has_columns_that_can_be_stored(settings: Settings, folder: Path) -> None:
    """A row of each table as the world has it, old enough; what goes is read back whole."""
    alice = world.tenant("alice")
    _old_denial(alice)
    set_setting("retention.order_days", 400)
    set_setting("retention.webhook_days", 90)
    make_old("events_webhookattempt", "at")
    make_old("events_webhookmessage", "created_at")
    make_old("events_delivery", "due_at")
    make_old("events_event", "created_at")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_webhookmessage SET status = 'SENT'")
        cursor.execute("UPDATE events_delivery SET status = 'FAILED', last_error = 'refused'")
        cursor.execute("UPDATE events_event SET routed_at = created_at")
        cursor.execute(
            "INSERT INTO execution_auditrun (ok, counters, unread, at)"
            " SELECT true, jsonb_build_object('DUP', n), '[]',"
            " clock_timestamp() - interval '200 days' FROM generate_series(1, 2) n"
        )
    old_lines(1, detail="a line", numbers={"maximum": "1.50"})
    before = {kind.name: table(kind.table) for kind in KINDS.values()}
    for kind in KINDS.values():
        assert archive(kind, folder) > 0, kind.name
        went = archived(kind, folder)
        assert {name: row.pop(name) for row in went for name in kind.with_it} == dict.fromkeys(
            kind.with_it
        )
        found = [*went, *table(kind.table)]
        assert sorted(found, key=lambda row: int(row["id"])) == before[kind.name]


def _old_denial(alice: world.Tenant) -> None:
    """An entry of another account, denied 500 days ago."""
    order = Order.objects.create(
        signal=alice.signal, connection=make.connection(alice.user), leg="entry", pair="EUR/USD",
        side="BUY", order_type="LIMIT", time_in_force="GTC", limit_price="1.10", status="DENIED",
        reason="MAX_QUANTITY", done_at=datetime(2020, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    Order.objects.filter(pk=order.pk).update(created_at=datetime(2020, 1, 1, tzinfo=UTC))


def test_manifest_states_what_each_file_has(folder: Path) -> None:
    lines = old_lines(5)
    assert archive("logs", folder, rows_at_once=2) == 5
    files = list(ArchiveFile.objects.order_by("id"))
    assert [(file.rows, file.first_id, file.last_id) for file in files] == [
        (2, lines[0], lines[1]), (2, lines[2], lines[3]), (1, lines[4], lines[4]),
    ]  # fmt: skip
    for file in files:
        assert (folder / file.path).stat().st_size == file.size
        assert file.first_at <= file.last_at
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {
        file.path for file in files
    }


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_file_is_not_read(folder: Path, damage: str) -> None:
    old_lines(1)
    archive("logs", folder)
    path = folder / ArchiveFile.objects.get().path
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArchiveDamagedError, match=path.name):
        archived("logs", folder)


def test_equal_filter_finds_account_and_order(folder: Path) -> None:
    account, other = UUID(int=1), UUID(int=2)
    old_lines(1, connection_id=account, order_id=12)
    old_lines(1, connection_id=other, order_id=13)
    archive("logs", folder)
    (row,) = archived("logs", folder, equal={"connection_id": str(account)})
    assert (row["order_id"], row["connection_id"]) == (12, account)
    assert len(archived("logs", folder, equal={"order_id": 13})) == 1
    assert archived("logs", folder, equal={"order_id": 14}) == []


def test_old_line_read_twice_is_the_same(folder: Path) -> None:
    old_lines(3)
    archive("logs", folder, rows_at_once=1)
    assert archived("logs", folder) == archived("logs", folder)
    assert len(archived("logs", folder)) == 3
