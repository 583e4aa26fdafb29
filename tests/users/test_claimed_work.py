"""Whose work it is: archives that a process has claimed, and set-ups of a key or of a person."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from signals.feeds.services import create_feed_token
from signals.models import FeedToken
from tests.connections import make
from users.joins import of_open_key, setter_key
from users.models import ApiKey, DataExport, DataExportPart
from users.people import data_export

pytestmark = pytest.mark.django_db
State = DataExport.State
NOW, INSTANT = datetime(2026, 3, 11, 12, tzinfo=UTC), timedelta(microseconds=1)
NOTHING, PERSON = timedelta(0), None


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def _request(state: str, *, left: timedelta | None = None, tries: int = 0) -> DataExport:
    return DataExport.objects.create(
        user=make.user(), state=state, tries=tries, expires_at=NOW + timedelta(days=1),
        claimed_until=None if left is None else NOW + left,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "left", "tries", "after"),
    [
        (State.WAITING, None, 0, (State.RUNNING, 1)),
        (State.RUNNING, INSTANT, 1, (State.RUNNING, 1)),  # another process is at it
        (State.RUNNING, NOTHING, 1, (State.RUNNING, 1)),
        (State.RUNNING, -INSTANT, 1, (State.RUNNING, 2)),
        (State.RUNNING, -INSTANT, 2, (State.RUNNING, 3)),
        (State.RUNNING, -INSTANT, 3, (State.FAILED, 3)),  # its process was killed each time
        (State.READY, -INSTANT, 1, (State.READY, 1)),
        (State.FAILED, -INSTANT, 1, (State.FAILED, 1)),
    ],
)
def test_archive_is_made_by_whose_claim_has_not_ended(
    state: str, left: timedelta | None, tries: int, after: tuple[str, int]
) -> None:
    request = _request(state, left=left, tries=tries)
    claimed = data_export._claim()
    request.refresh_from_db()
    assert (request.state, request.tries) == after
    assert (claimed is not None) == (request.tries > tries)
    if claimed is not None:
        assert request.claimed_until == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("tries", "state", "is_mine"),
    [
        (1, State.RUNNING, True),
        (2, State.RUNNING, False),  # another process has taken it over
        (1, State.FAILED, False),
        (1, State.READY, False),
    ],
)
def test_archive_is_stored_and_reported_by_who_has_its_claim(
    tmp_path: Path, tries: int, state: str, is_mine: bool
) -> None:
    seen = _request(State.RUNNING, left=NOTHING, tries=1)
    DataExport.objects.update(tries=tries, state=state)
    if is_mine:
        data_export._report(seen, tables_done=4)
    else:
        with pytest.raises(RuntimeError, match="taken it over"):
            data_export._report(seen, tables_done=4)
    assert DataExport.objects.get().tables_done == (4 if is_mine else 0)
    archive = tmp_path / "data.zip"
    archive.write_bytes(b"zip")
    data_export._store(seen, archive)
    assert DataExportPart.objects.count() == int(is_mine)
    assert DataExport.objects.get().state == (State.READY if is_mine else state)


def test_failure_of_who_lost_the_claim_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    request = _request(State.RUNNING, left=-INSTANT, tries=2)

    def fail(export: DataExport, _: Path) -> Path:
        DataExport.objects.filter(pk=export.pk).update(state=State.READY, tries=4)
        raise OSError("no space")

    monkeypatch.setattr(data_export, "_write_archive", fail)
    assert data_export.build_next()
    request.refresh_from_db()
    assert (request.state, request.tries) == (State.READY, 4)


@pytest.mark.parametrize(
    ("by_key", "before", "is_changed", "of_key"),
    [
        (PERSON, PERSON, False, PERSON),
        (PERSON, PERSON, True, PERSON),
        (PERSON, 5, False, PERSON),  # a person confirms what a key set up
        (PERSON, 5, True, PERSON),
        (7, PERSON, False, PERSON),  # a key repeats what a person set up
        (7, PERSON, True, 7),
        (7, 5, False, 7),
        (7, 5, True, 7),
    ],
)
def test_what_a_person_sets_or_confirms_is_theirs(
    by_key: int | None, before: int | None, is_changed: bool, of_key: int | None
) -> None:
    assert setter_key(by_key, before, is_changed=is_changed) == of_key


@pytest.mark.parametrize(
    ("ends_in", "is_revoked", "is_there"),
    [
        (timedelta(hours=1), False, True),
        (-timedelta(seconds=1), False, False),
        (timedelta(hours=1), True, False),
    ],
)
def test_what_a_key_set_up_ends_with_it_and_what_a_person_did_stays(
    ends_in: timedelta, is_revoked: bool, is_there: bool
) -> None:
    now, feed = datetime.now(UTC), make.feed()
    key = ApiKey.objects.create(
        user=make.user(), name="k", prefix="p", secret_hash="h", expires_at=now + ends_in,
        revoked_at=now if is_revoked else None,
    )  # fmt: skip
    of_person, _ = create_feed_token(feed)
    of_key, _ = create_feed_token(feed)
    FeedToken.objects.filter(pk=of_key.pk).update(made_with=key)
    there = set(FeedToken.objects.filter(of_open_key("made_with")).values_list("pk", flat=True))
    assert there == ({of_person.pk, of_key.pk} if is_there else {of_person.pk})
