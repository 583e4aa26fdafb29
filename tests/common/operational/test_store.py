"""Versions of the settings: who, when, why; no lost change; no broken one in force."""

import threading
from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction

from common.db.sql import run
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.models import SettingsVersion, TrailLine
from common.operational import current, store
from common.operational.current import settings_now
from common.operational.document import Document
from common.permissions import Role
from tests.connections import make
from tests.roles import staff
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]
POLL = {"execution": {"poll_seconds": 1}}


@pytest.fixture
def root() -> User:
    return staff(Role.ADMINISTRATOR, name="root")


def save(changes: Any, by: User | None, **terms: Any) -> SettingsVersion | None:
    return store.save(changes, by=by, **{"why": "A test.", "origin": "console", **terms})


def broken(number: int, document: Any) -> None:
    """Store a version that no program of this one's age can use."""
    SettingsVersion.objects.create(id=number, document=document, origin="console", why="By hand.")


def test_version_states_who_when_and_why(root: User) -> None:
    version = save(POLL, root, why="  Faster\n please. ")
    assert version is not None
    assert (version.pk, version.user_id, version.username) == (1, root.pk, "root")
    assert version.why == "Faster please."
    version.refresh_from_db()
    assert version.made_at is not None
    assert version.document["execution"]["poll_seconds"] == 1
    assert set(version.document) == set(store.document_of(None))  # the whole document


def test_version_is_in_force_in_this_process_at_once(root: User) -> None:
    save(POLL, root)
    assert settings_now().execution.poll_seconds == 1
    assert current.in_force().number == 1


def test_reader_runs_no_statement(root: User, django_assert_num_queries: Any) -> None:
    save(POLL, root)
    with django_assert_num_queries(0):
        for _ in range(100):
            settings_now()


def test_version_that_changes_nothing_is_not_stored(root: User) -> None:
    assert save({}, root) is None
    save(POLL, root)
    assert save(POLL, root) is None
    assert SettingsVersion.objects.count() == 1


def test_invalid_change_is_refused_as_a_whole(root: User) -> None:
    changes = {"execution": {"poll_seconds": 1, "stuck_seconds": 0}, "colour": {}}
    with pytest.raises(InvalidInputError) as refused:
        save(changes, root)
    fields = [refused.value.field, *(other.field for other in refused.value.others)]
    assert fields == ["execution.stuck_seconds", "colour"]
    assert not SettingsVersion.objects.exists()
    assert settings_now().execution.poll_seconds == 2


@pytest.mark.parametrize("why", ["", "  \n", "x" * 501])
def test_change_without_a_reason_is_refused(root: User, why: str) -> None:
    with pytest.raises(InvalidInputError, match="State why"):
        save(POLL, root, why=why)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.RISK_OFFICER, Role.SUPPORT])
def test_only_administrators_change_settings(role: Role) -> None:
    with pytest.raises(NotAllowedError, match="administrator"):
        save(POLL, staff(role))
    with pytest.raises(NotAllowedError):
        store.restore(1, by=make.user(), origin="console")


def test_second_of_two_changes_from_one_version_is_refused(root: User) -> None:
    save(POLL, root, base=0, why="First.")
    with pytest.raises(ConflictError, match=r"Version 1 was stored meanwhile by root \(First\)"):
        save({"execution": {"stuck_seconds": 60}}, root, base=0)
    assert SettingsVersion.objects.count() == 1


def test_restored_version_is_a_new_one(root: User) -> None:
    save(POLL, root)
    save({"execution": {"poll_seconds": 3, "stuck_seconds": 60}}, root)
    version = store.restore(1, by=root, origin="console")
    assert (version.pk, version.restored, version.why) == (3, 1, "Version 1 restored.")
    assert settings_now().execution.poll_seconds == 1
    assert settings_now().execution.stuck_seconds == 30


def test_text_of_another_release_stops_no_other_change(root: User) -> None:
    """A placeholder was renamed since: that text alone cannot be used."""
    texts = {"order.filled": {"title": "{was_renamed}", "body": "{text}"}}
    broken(1, {"messages": {"texts": texts}})
    current.refresh()
    save({"execution": {"call_timeout_seconds": 7}}, root)
    assert settings_now().execution.call_timeout_seconds == 7
    store.restore(1, by=root, origin="console")
    other = {**texts, "order.rejected": {"title": "{unknown}", "body": "{text}"}}
    with pytest.raises(InvalidInputError) as refused:
        save({"messages": {"texts": other}}, root)
    assert refused.value.field == "messages.texts.order.rejected.title"
    assert refused.value.others == ()
    save({"messages": {"texts": {}}}, root)
    with pytest.raises(InvalidInputError, match="was_renamed"):
        store.restore(1, by=root, origin="console")


def test_restoring_beside_an_unreadable_version_names_the_fault(root: User) -> None:
    texts = {"order.filled": {"title": "{was_renamed}", "body": "{text}"}}
    broken(1, {"messages": {"texts": texts}})
    broken(2, {"execution": {"call_timeout_seconds": "soon"}})
    with pytest.raises(InvalidInputError, match="was_renamed") as refused:
        store.restore(1, by=root, origin="console")
    assert refused.value.field == "messages.texts.order.filled.title"


def test_version_zero_restores_the_base(root: User) -> None:
    save(POLL, root)
    store.restore(0, by=root, origin="console")
    assert settings_now() == Document()


def test_restoring_what_is_not_there_or_invalid_is_refused(root: User) -> None:
    save(POLL, root)
    with pytest.raises(InvalidInputError, match="no version 7"):
        store.restore(7, by=root, origin="console")
    broken(2, {"execution": {"poll_seconds": 99}})
    with pytest.raises(InvalidInputError, match="from 1 to 5"):
        store.restore(2, by=root, origin="console")


@pytest.mark.parametrize(
    "document", [{"execution": {"poll_seconds": 99}}, {"of_tomorrow": {}}, [], "x", 5, None]
)
def test_broken_version_leaves_the_last_good_one_in_force(
    root: User, document: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save(POLL, root)
    broken(2, {} if document is None else document)
    if document is None:
        run("UPDATE common_settingsversion SET document = 'null' WHERE id = 2")
    for _ in range(3):
        found = current.refresh()
    assert (found.number, found.seen.number) == (1, 2)
    assert found.faults
    assert settings_now().execution.poll_seconds == 1
    assert len([r for r in caplog.records if "version 2" in r.getMessage()]) == 1  # no flood


def test_next_valid_version_ends_the_alarm(root: User) -> None:
    save(POLL, root)
    broken(2, {"of_tomorrow": {}})
    current.refresh()
    assert save({}, root) is not None  # what is in force becomes the newest version
    found = current.refresh()
    assert (found.number, found.faults) == (3, ())
    assert settings_now().execution.poll_seconds == 1


def test_restored_database_with_the_same_number_is_noticed(root: User) -> None:
    """After a restore another version may get the number that this process has seen."""
    save(POLL, root)
    run("DELETE FROM common_settingsversion")
    assert current.refresh().number == 0
    save({"execution": {"poll_seconds": 5}}, root)
    assert settings_now().execution.poll_seconds == 5
    run(
        "UPDATE common_settingsversion SET made_at = made_at - interval '1 day',"
        """ document = '{"execution": {"poll_seconds": 4}}'"""
    )
    current.refresh()
    assert settings_now().execution.poll_seconds == 4


def test_change_is_on_the_audit_trail(root: User) -> None:
    save(POLL, root)
    line = TrailLine.objects.get(relation="common_settingsversion")
    assert (line.operation, line.row_id, line.user_id) == ("insert", "1", root.pk)
    assert line.after is not None
    assert line.after["document"]["execution"]["poll_seconds"] == 1


@pytest.mark.parametrize("role", ["fillcast_web", "fillcast_trade"])
@pytest.mark.parametrize("statement", ["UPDATE common_settingsversion SET why = 'other'",
                                       "DELETE FROM common_settingsversion"])  # fmt: skip
def test_no_role_of_the_application_changes_a_version(
    root: User, role: str, statement: str
) -> None:
    save(POLL, root)
    with transaction.atomic():
        run(f"SET LOCAL ROLE {role}")
        with pytest.raises(ProgrammingError, match="permission denied"):
            run(statement)
        transaction.set_rollback(True)


def test_tenant_reads_settings_and_writes_none(root: User) -> None:
    save(POLL, root)
    with transaction.atomic():
        run("SET LOCAL ROLE fillcast_web")
        assert SettingsVersion.objects.count() == 1
        with pytest.raises(ProgrammingError, match="row-level security"):
            broken(2, {})
        transaction.set_rollback(True)


def test_listener_receives_changes_and_its_error_stops_no_other(root: User) -> None:
    received: list[int] = []

    def fails(document: Document) -> None:
        raise RuntimeError("one listener")

    ends = [
        current.follow(fails), current.follow(lambda d: received.append(d.execution.poll_seconds)),
    ]  # fmt: skip
    try:
        save(POLL, root)
        save({"execution": {"stuck_seconds": 60}}, root)
    finally:
        for end in ends:
            end()
    save({"execution": {"poll_seconds": 4}}, root)
    assert received == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_store_one_version() -> None:
    root = staff(Role.ADMINISTRATOR, name="root")
    results: list[str] = []
    start = threading.Barrier(2)

    def change(seconds: int) -> None:
        start.wait(60)
        try:
            results.append(str(save({"execution": {"poll_seconds": seconds}}, root, base=0)))
        except ConflictError as error:
            results.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(seconds,)) for seconds in (1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 2
    assert "STATE_CONFLICT" in results
    assert SettingsVersion.objects.count() == 1
