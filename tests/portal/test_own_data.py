"""The archive of a user's own data: asked for, made by a worker, downloaded by its owner only."""

import csv
import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from execution.models import Order
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_sign_up import as_owner
from users import data_export
from users.models import DataExport, DataExportPart, User
from users.services import create_api_key

pytestmark = pytest.mark.django_db
PAGE, DOWNLOAD = "/data/", "/data/download/"


def build() -> bool:
    """Work as a worker does, without row-level security."""
    with as_owner():
        return data_export.build_next()


def archive_of(client: Client) -> zipfile.ZipFile:
    response: Any = client.get(DOWNLOAD)
    assert response["Content-Type"] == "application/zip"
    content = b"".join(response.streaming_content)
    assert len(content) == int(response["Content-Length"])
    return zipfile.ZipFile(io.BytesIO(content))


def test_archive_has_every_own_row_as_json_and_csv_and_no_secret(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    with as_owner():
        User.objects.filter(pk=world.alice.pk).update(full_name="=cmd|' /C calc'!A0")
        key, secret = create_api_key(world.alice, "report")
        orders = set(
            Order.objects.filter(connection__user=world.alice).values_list("pk", flat=True)
        )
    client = signed_in(world.alice)
    assert "There is no archive." in html_of(client.get(PAGE))
    assert "Your archive is being made." in html_of(client.post(PAGE, follow=True))
    waiting = html_of(client.get(PAGE))
    assert "Waiting" in waiting
    assert 'hx-trigger="every 2s"' in waiting
    assert build()
    assert not build()
    assert "Download it" in html_of(client.get(PAGE))
    packed = archive_of(client)
    assert {row["id"] for row in json.loads(packed.read("orders.json"))} == orders
    assert len(orders) > 1
    listed = list(csv.DictReader(io.StringIO(packed.read("orders.csv").decode())))
    assert {int(row["id"]) for row in listed} == orders
    (profile,) = csv.DictReader(io.StringIO(packed.read("profile.csv").decode()))
    assert profile["username"] == "alice"
    assert profile["full_name"].startswith("'="), "no formula"
    everything = b"".join(packed.read(name) for name in packed.namelist()).decode()
    with as_owner():
        key.refresh_from_db()
        hidden = (secret, key.secret_hash, User.objects.get(pk=world.alice.pk).password)
    assert not [text for text in hidden if text in everything]
    assert "Bob's MT5" not in everything
    assert "Main MT5" in everything


def test_no_one_else_gets_it(world: World, signed_in: SignedIn, as_web: None) -> None:
    with as_owner():
        export = data_export.request_export(world.alice)
        assert build()
    assert list(data_export.archive_parts(world.olga, export.pk)) == []
    for user in (world.bob, world.olga):
        assert signed_in(user).get(DOWNLOAD)["Location"] == PAGE
    assert Client().get(DOWNLOAD)["Location"] == f"/login/?next={DOWNLOAD}"


def test_second_request_within_an_hour_is_refused(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.post(PAGE)
    assert "EXPORT_LIMIT" in html_of(client.post(PAGE, follow=True))
    with as_owner():
        DataExport.objects.update(requested_at=timezone.now() - timedelta(hours=2))
    client.post(PAGE)
    with as_owner():
        assert DataExport.objects.get().requested_at > timezone.now() - timedelta(minutes=1)


def test_archive_ends(world: World, signed_in: SignedIn, as_web: None) -> None:
    with as_owner():
        export = data_export.request_export(world.alice)
        assert build()
        DataExport.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert list(data_export.archive_parts(world.alice, export.pk)) == []
    assert signed_in(world.alice).get(DOWNLOAD).status_code == 404
    assert not build()
    with as_owner():
        assert DataExportPart.objects.count() == 0


def test_run_that_died_is_begun_again_and_the_old_one_writes_nothing(world: World) -> None:
    data_export.request_export(world.alice)
    dead = data_export._claim()
    assert dead is not None
    assert not data_export.build_next(), "claimed"
    DataExport.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert data_export.build_next()
    assert DataExport.objects.get().state == DataExport.State.READY
    with pytest.raises(RuntimeError, match="taken it over"):
        data_export._report(dead, rows_done=7)
