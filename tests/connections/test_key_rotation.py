"""Sealing everything again for a new key, interrupted and run again."""

import json

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from common.models import TrailLine
from common.sealing import new_private_key, public_key_of
from connections.credentials import key_rotation
from connections.models import ExecutionConnection
from events import channels
from events.models import Channel
from tests.connections import make

pytestmark = pytest.mark.django_db
NEW = new_private_key()


@pytest.fixture
def seven() -> list[ExecutionConnection]:
    made = [make.connection(sealed_credentials=None) for _ in range(7)]
    for number, row in enumerate(made):
        row.set_credential("login", str(number))
        row.set_credential("password", f"secret {number}")
    make.connection(sealed_credentials=None)
    return made


@pytest.fixture
def channel() -> Channel:
    made = Channel(user=make.user(), name="c", url_display="x")
    made.url_sealed = channels.seal_url("jsons://example.com/hook", made)
    made.save()
    return made


def begin(keys: bytes, settings: Settings) -> None:
    """Steps 2 and 3 of a rotation are done."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(NEW)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (NEW, keys)


def opened() -> list[dict[str, str]]:
    rows = ExecutionConnection.objects.exclude(sealed_credentials=None)
    return sorted((row.open_credentials() for row in rows), key=lambda values: values["login"])


EXPECTED = [{"login": str(n), "password": f"secret {n}"} for n in range(7)]


def test_old_key_is_not_needed_after_rotation(
    seven: list[ExecutionConnection], channel: Channel, keys: bytes, settings: Settings
) -> None:
    begin(keys, settings)
    assert key_rotation.count_rows_to_reseal() == 8
    call_command("rotate_credentials_key")
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (NEW,)
    assert key_rotation.count_rows_to_reseal() == 0
    assert opened() == EXPECTED
    channel.refresh_from_db()
    assert channels.open_url(channel) == "jsons://example.com/hook"


def test_interrupted_rotation_loses_nothing_and_resumes(
    seven: list[ExecutionConnection], keys: bytes, settings: Settings
) -> None:
    begin(keys, settings)
    steps = key_rotation.reseal_all(batch=3)
    assert next(steps).resealed == 3
    steps.close()
    assert key_rotation.count_rows_to_reseal() == 4
    assert opened() == EXPECTED, "in the middle of it everything opens"
    *_, last = key_rotation.reseal_all(batch=3)
    assert (last.checked, last.resealed) == (7, 4)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (NEW,)
    assert opened() == EXPECTED


def test_second_rotation_writes_nothing(
    seven: list[ExecutionConnection], keys: bytes, settings: Settings
) -> None:
    begin(keys, settings)
    call_command("rotate_credentials_key")
    stored = list(ExecutionConnection.objects.order_by("id").values_list("sealed_credentials"))
    call_command("rotate_credentials_key")
    assert stored == list(
        ExecutionConnection.objects.order_by("id").values_list("sealed_credentials")
    )


def test_undecryptable_row_does_not_stop_rotation(
    seven: list[ExecutionConnection], keys: bytes, settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    broken, rubbish = seven[2], seven[4]
    ExecutionConnection.objects.filter(pk=broken.pk).update(
        sealed_credentials=seven[0].sealed_credentials
    )
    ExecutionConnection.objects.filter(pk=rubbish.pk).update(sealed_credentials=b"x")
    begin(keys, settings)
    with pytest.raises(CommandError, match="2 rows still need an older key"):
        call_command("rotate_credentials_key")
    out = capsys.readouterr()
    result = json.loads(out.out.splitlines()[-1])
    assert (result["ok"], result["resealed"], result["left"]) == (False, 5, 2)
    assert set(result["closed"]) == {f"connection {broken.pk}", f"connection {rubbish.pk}"}
    assert "secret" not in out.out + out.err


def test_change_during_rotation_is_kept(
    seven: list[ExecutionConnection], keys: bytes, settings: Settings
) -> None:
    begin(keys, settings)
    steps = key_rotation.reseal_all(batch=3)
    next(steps)
    for row in seven:
        ExecutionConnection.objects.get(pk=row.pk).set_credential("password", "changed")
    for _ in steps:
        pass
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (NEW,)
    assert {values["password"] for values in opened()} == {"changed"}


def test_rotation_changes_nothing_but_sealed_credentials(
    seven: list[ExecutionConnection], keys: bytes, settings: Settings
) -> None:
    before = TrailLine.objects.latest("pk").pk
    begin(keys, settings)
    call_command("rotate_credentials_key")
    lines = TrailLine.objects.filter(pk__gt=before, relation="connections_executionconnection")
    assert len(lines) == len(seven)
    assert all(set(line.after or ()) == {"sealed_credentials"} for line in lines)


def test_web_process_cannot_rotate(seven: list[ExecutionConnection], settings: Settings) -> None:
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = ()
    with pytest.raises(CommandError, match="trading processes only"):
        call_command("rotate_credentials_key")


def test_new_key_pair_matches(capsys: pytest.CaptureFixture[str]) -> None:
    import base64

    call_command("rotate_credentials_key", "--new")
    lines = dict(line.split("=", 1) for line in capsys.readouterr().out.split())
    private = base64.b64decode(lines["FILLCAST_CREDENTIALS_PRIVATE_KEYS"])
    public = base64.b64decode(lines["FILLCAST_CREDENTIALS_PUBLIC_KEY"])
    assert public_key_of(private) == public
