"""The archive of a user's own data: asked for, made by a worker, downloaded by its owner only."""

import csv
import io
import json
import zipfile
from datetime import time, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.utils import timezone

from alerts.models import IncomingAlert
from analytics.history import own_trail
from common.db.sql import run
from events.models import Channel
from execution.models import ExecutionLog, Order
from signals.models import FeedTerms, FeedToken
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_sign_up import as_owner
from users.models import ApiKey, DataExport, DataExportPart, LoginSession, User
from users.people import data_export
from users.services import create_api_key

pytestmark = pytest.mark.django_db
PAGE, DOWNLOAD = "/data/", "/data/download/"


def build() -> bool:
    """Work as a worker does, under its role."""
    with as_owner():
        run("SET ROLE fillcast_trade")
        try:
            return data_export.build_next()
        finally:
            run("RESET ROLE")


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
        assert DataExport.objects.get().requested_at > timezone.now() - timedelta(hours=1)


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


OWNERS = {"User", "ApiKey", "Channel", "Feed", "FeedToken", "TelegramBot", "ExecutionConnection",
          "Subscription", "TradingPreset", "Order", "Fill", "ExecutionPosition", "SubscriptionTwin",
          "WebhookMessage"}  # fmt: skip
NOT_IN_ARCHIVE = {
    "one row an account, of no content": {"ConnectionLock", "LaneAssignment"},
    "how the engine works, and what it works on now": {
        "AccountSyncState",
        "BrokerListing",
        "StreamLease",
        "OrderTrigger",
        "PricePeak",
        "SlicePlan",
        "EntryDecision",
        "VoidedFill",
        "CashFlowRead",
        "Delivery",
        "ConnectionHealth",
        "ReceivedAlert",
        "StopRule",
    },
    "secrets, or of no content without them": {"RecoveryCode", "LoginSession", "KeptAnswer"},
    "of the archive itself": {"DataExport", "DataExportPart"},
    "of the installation, its operators or of many users": {
        "Invitation",
        "LogEntry",
        "MaintenanceWindow",
        "DataConnection",
        "DecisionProvider",
        "NewsCalendar",
        "User_groups",
        "User_user_permissions",
        "ApiKeyNotice",
        "AuditRun",
        "BusRoute",
        "BusMessage",
    },
    "public and computed from signals": {
        "RecordLink",
        "RecordHead",
        "RecordAnchor",
        "RecordStatus",
        "FeedTrade",
        "FeedRecord",
    },
    "of a broker's account that Fillcast simulates": {"PaperAccount"},
}


def test_each_table_of_an_owner_is_in_the_archive_or_left_out_for_a_reason() -> None:
    known = {name for names in NOT_IN_ARCHIVE.values() for name in names}
    exported = {table.model for table in data_export._tables.values()}
    missing = [
        model.__name__
        for model in apps.get_models(include_auto_created=True)
        if {field.related_model.__name__ for field in model._meta.concrete_fields
            if isinstance(field.related_model, type)} & OWNERS
        and model._meta.label not in exported
        and model.__name__ not in known
    ]  # fmt: skip
    assert missing == []


def test_archive_has_what_is_stored_about_a_provider(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    with as_owner():
        settings_of = Channel.objects.create(
            user=world.alice, name="Night mail", url_sealed=b"s3aled", push_digest="d1gest",
            url_display="mailto:example.com", digest="DAILY", digest_at=time(7),
        )  # fmt: skip
        FeedTerms.objects.create(feed=world.own, text="No guarantee.", changed_by=world.alice)
        IncomingAlert.objects.create(
            feed=world.own, body="BUY EURUSD “now”\n**token:** s3cret".encode(),
            state="PUBLISHED", settled_at=timezone.now(),
        )  # fmt: skip
        order = Order.objects.filter(connection__user=world.alice).latest("pk")
        bobs = Order.objects.filter(connection__user=world.bob).latest("pk")
        for one in (order, bobs):
            ExecutionLog.objects.create(order_id=one.pk, code="FILL", detail=f"log-{one.pk}")
        data_export.request_export(world.alice)
    assert build()
    packed = archive_of(client)

    def table(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(packed.read(f"{name}.json"))
        return found

    (mail,) = (row for row in table("channels") if row["id"] == settings_of.pk)
    assert (mail["digest"], mail["digest_at"]) == ("DAILY", "07:00:00")
    assert "No guarantee." in {row["text"] for row in table("terms_of_feeds")}
    (body,) = {row["body"] for row in table("alerts")}
    assert "BUY EURUSD “now”" in body
    assert "s3cret" not in body
    logged = {row["detail"] for row in table("order_log")}
    assert f"log-{order.pk}" in logged
    assert f"log-{bobs.pk}" not in logged
    assert [row["address"] for row in table("sessions")]
    assert table("drafts")
    with as_owner():
        changes = [row["fields"] for row in own_trail.all_changes(world.alice)]
    assert [row["fields"] for row in table("audit_trail")] == changes
    assert changes


def test_archives_of_two_users_share_no_row_and_hold_no_secret(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    clients = [signed_in(user) for user in (world.alice, world.bob)]
    with as_owner():
        Channel.objects.create(user=world.alice, name="c", url_sealed=b"s3aled", push_digest="d1ge")
        for user in (world.alice, world.bob):
            data_export.request_export(user)
        secrets = {text for row in LoginSession.objects.all() for text in
                   (row.session_key, row.session_data)}  # fmt: skip
        secrets |= {*User.objects.values_list("password", flat=True), "s3aled", "d1ge"}
        for model, column in ((FeedToken, "secret_hash"), (ApiKey, "secret_hash")):
            secrets |= set(model.objects.values_list(column, flat=True))
    assert build()
    assert build()
    one, other = (archive_of(client) for client in clients)
    for name in one.namelist():
        if not name.endswith(".json"):
            continue
        mine, theirs = ({json.dumps(row) for row in json.loads(packed.read(name))}
                        for packed in (one, other))  # fmt: skip
        assert not mine & theirs, name
    everything = b"".join(one.read(name) for name in one.namelist()).decode()
    assert not [text for text in secrets if text and text in everything]
    listed = {name.partition(".")[0] for name in one.namelist()} - {"README"}
    assert listed == set(data_export._tables)
