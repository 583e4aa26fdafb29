"""`manage.py verify_trail` finds whatever was done to the trail, by its tables' owner too."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings

from common.db.audit_trail_check import checkpoint
from common.db.audit_trail_sql import CHECKPOINTS, CONTENT, HEAD, LINES
from common.db.sql import rows, run
from common.hash_chain import Findings
from connections.models import TradingPreset
from tests.connections import make
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def verified(*arguments: str) -> tuple[list[str], dict[str, Any], int]:
    """The sentences, the last line as JSON, and the exit code."""
    out, code = io.StringIO(), 0
    try:
        call_command("verify_trail", *arguments, stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    *sentences, last = out.getvalue().splitlines()
    return sentences, json.loads(last), code


@pytest.fixture
def trail() -> list[int]:
    """Six lines by three transactions, a checkpoint after the fourth; the rows' numbers."""
    preset = make.preset(make.user("alice"))
    for n in (2, 3):
        TradingPreset.objects.filter(pk=preset.pk).update(max_open_positions=n)
    assert checkpoint() is not None
    for n in (4, 5):
        TradingPreset.objects.filter(pk=preset.pk).update(max_open_positions=n)
    return [row.number for row in rows(f"SELECT number FROM {LINES} ORDER BY number")]


@contextmanager
def as_owner_without_triggers() -> Iterator[None]:
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        yield


def test_untouched_trail_verifies(trail: list[int]) -> None:
    sentences, last, code = verified()
    assert sentences == ["6 lines, 1 checkpoints: the trail is intact."]
    assert (trail, code) == ([1, 2, 3, 4, 5, 6], 0)
    assert (last["ok"], last["lines"], last["wrong"]) == (True, 6, 0)


RECHAIN = f"""
DO $$ DECLARE line {LINES}; was text := ''; n bigint := 0; BEGIN
  FOR line IN SELECT * FROM {LINES} ORDER BY number NULLS LAST, id LOOP
    n := n + 1; line.number := n;
    was := encode(sha256(convert_to(was || {CONTENT}, 'UTF8')), 'hex');
    UPDATE {LINES} SET number = n, hash = was WHERE id = line.id;
  END LOOP;
  UPDATE {HEAD} SET lines = n, hash = was;
END $$"""
FORGED = (
    f"INSERT INTO {LINES} (at, operation, relation, row_id, after, user_id, address, origin,"
    " context, login, number, hash) SELECT at, operation, relation, row_id, after, user_id,"
    f" address, origin, context, login, {{number}}, {{hash}} FROM {LINES} WHERE number = 3"
)
TAMPERING = {
    "a value": [f"UPDATE {LINES} SET after = '{{\"max_open_positions\": 9}}' WHERE number = 3"],
    "the user": [f"UPDATE {LINES} SET user_id = 1 WHERE number = 3"],
    "the address": [f"UPDATE {LINES} SET address = '192.0.2.1' WHERE number = 3"],
    "the time": [f"UPDATE {LINES} SET at = at - interval '1 us' WHERE number = 3"],
    "a hash": [f"UPDATE {LINES} SET hash = repeat('0', 64) WHERE number = 3"],
    "a removed line": [f"DELETE FROM {LINES} WHERE number = 3"],
    "the first line removed": [f"DELETE FROM {LINES} WHERE number = 1"],
    "the last lines removed": [f"DELETE FROM {LINES} WHERE number > 5"],
    "the last lines removed, head put back": [
        f"DELETE FROM {LINES} WHERE number > 3",
        f"UPDATE {HEAD} SET lines = 3, hash = (SELECT hash FROM {LINES} WHERE number = 3)",
    ],
    "a line without a number": [FORGED.format(number="NULL", hash="NULL")],
    "a line at the end": [FORGED.format(number="7", hash="repeat('0', 64)")],
    "a line in between": [
        f"UPDATE {LINES} SET number = number + 100 WHERE number > 3",
        FORGED.format(number="4", hash="repeat('0', 64)"),
        f"UPDATE {LINES} SET number = number - 99 WHERE number > 100",
        f"UPDATE {HEAD} SET lines = 7",
    ],
    "two lines exchanged": [
        f"UPDATE {LINES} SET number = 100 WHERE number = 3",
        f"UPDATE {LINES} SET number = 3 WHERE number = 4",
        f"UPDATE {LINES} SET number = 4 WHERE number = 100",
    ],
    "the head removed": [f"DELETE FROM {HEAD}"],
    "rewritten with all hashes": [
        f"UPDATE {LINES} SET user_id = 1 WHERE number = 3",
        RECHAIN,
    ],
    "rewritten, checkpoint put right": [
        f"UPDATE {LINES} SET user_id = 1 WHERE number = 3",
        RECHAIN,
        f"UPDATE {CHECKPOINTS} SET hash = (SELECT hash FROM {LINES} l WHERE l.number = 4)",
    ],
    "everything removed": [f"DELETE FROM {LINES}", f"UPDATE {HEAD} SET lines = 0, hash = ''"],
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_by_the_owner_is_found(trail: list[int], what: str) -> None:
    with as_owner_without_triggers():
        for statement in TAMPERING[what]:
            rows(statement)
    sentences, last, code = verified()
    assert (last["ok"], code) == (False, 1)
    assert last["wrong"] == len(sentences) > 0
    named = {"a value": "Line 3 ", "a removed line": "Line 3 is missing.",
             "the last lines removed": "Line 6 is missing. They were the last ones."}  # fmt: skip
    assert named.get(what, "") in " ".join(sentences)


def test_external_head_reveals_rewritten_trail(trail: list[int]) -> None:
    kept = verified()[1]["head"]
    with as_owner_without_triggers():
        rows(f"DELETE FROM {CHECKPOINTS}")
        rows(f"UPDATE {LINES} SET user_id = 1 WHERE number = 6")
        rows(RECHAIN)
    assert verified()[2] == 0  # undetectable without a checkpoint or a kept head
    sentences, _, code = verified("--expect", kept)
    assert (sentences, code) == (
        ["The head that you gave has another hash of line 6: it was rewritten."], 1
    )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users_user DISABLE TRIGGER fillcast_trail",
        "DROP TRIGGER fillcast_trail ON events_channel",
        f"ALTER TABLE {LINES} DISABLE TRIGGER fillcast_chain",
        f"ALTER TABLE {HEAD} DISABLE TRIGGER fillcast_guard",
        f"GRANT DELETE ON {LINES} TO fillcast_trade",
        "CREATE OR REPLACE FUNCTION public.fillcast_add_trail_line() RETURNS trigger"
        " LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
)
def test_missing_trail_triggers_are_found(trail: list[int], statement: str) -> None:
    with transaction.atomic():
        rows(statement)
        found = _inside_a_transaction()
        transaction.set_rollback(True)
    assert len(found) == 1


def _inside_a_transaction() -> list[str]:
    from common.db import audit_trail_check
    from console.tracked_tables import TRACKED

    found = Findings()
    audit_trail_check._check_triggers(found, [tracked.table for tracked in TRACKED])
    for right in rows(audit_trail_check._RIGHTS):
        found.add(str(right))
    return found.wrong


@pytest.mark.parametrize(
    "statement",
    [f"UPDATE {LINES} SET user_id = 1", f"DELETE FROM {HEAD}", f"TRUNCATE {LINES}",
     FORGED.format(number="NULL", hash="NULL")],
)  # fmt: skip
def test_owner_role_cannot_write_trail_by_mistake(trail: list[int], statement: str) -> None:
    with pytest.raises(Exception, match="written by triggers only"):
        rows(statement)
    assert verified()[2] == 0


def test_checkpoint_is_not_signed_over_broken_trail(trail: list[int]) -> None:
    with as_owner_without_triggers():
        rows(f"UPDATE {LINES} SET user_id = 1 WHERE number = 6")
    assert checkpoint() is None


def test_checkpoint_signed_by_another_key_is_found(trail: list[int]) -> None:
    with override_settings(SECRET_KEY="another"):
        (sentence,), _, code = verified()
    assert code == 1
    assert "is not signed with this installation's FILLCAST_SECRET_KEY" in sentence


def test_rollback_leaves_neither_line_nor_gap(trail: list[int]) -> None:
    for n in (6, 7, 8):
        with transaction.atomic():
            TradingPreset.objects.update(max_open_positions=n)
            transaction.set_rollback(n == 7)
    _, last, code = verified()
    assert (last["lines"], code) == (8, 0)


def test_concurrent_changes_make_one_chain() -> None:
    users = [User.objects.create_user(f"user-{n}") for n in range(4)]
    faults: list[BaseException] = []

    def work(user: User) -> None:
        try:
            for n in range(25):
                with transaction.atomic():
                    User.objects.filter(pk=user.pk).update(first_name=str(n))
                    User.objects.filter(pk=user.pk).update(last_name=str(n))
                    transaction.set_rollback(n % 5 == 4)
        except BaseException as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=work, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    sentences, last, code = verified()
    assert (last["lines"], code, sentences[0].endswith("is intact.")) == (4 + 4 * 20 * 2, 0, True)


def test_malformed_head_is_refused() -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError, match="is not a head"):
        call_command("verify_trail", "--expect", "12")
