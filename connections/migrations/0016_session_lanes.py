"""The lane of each session that connections share is decided once."""

from typing import Any

from django.db import migrations, models

from common.row_security import shared_rows

# The kinds whose accounts may share a session, as they were when this was written. Other kinds'
# sessions are settled when one of their connections is saved next.
BY_FOLDER = ("mt4", "mt5-dwx")


def settle(apps: Any, _: Any) -> None:
    """The oldest connection of each session says its lane; younger ones that a changed
    FILLCAST_SESSION_LANES has put elsewhere come to it."""
    found = apps.get_model("connections", "ExecutionConnection").objects
    settled = apps.get_model("connections", "SessionLane").objects
    rows = found.filter(type__in=BY_FOLDER, archived_at=None).exclude(lane="")
    for one in rows.order_by("created_at", "id").only("id", "settings", "lane"):
        if not (folder := str(one.settings.get("folder") or "")):
            continue
        key = f"mt4 {folder.casefold()}"
        first, _made = settled.get_or_create(session_key=key, defaults={"lane": one.lane})
        found.filter(pk=one.pk).exclude(lane=first.lane).update(lane=first.lane)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0015_one_claim_an_account"),
    ]

    operations = [
        migrations.CreateModel(
            name="SessionLane",
            fields=[
                (
                    "session_key",
                    models.CharField(max_length=200, primary_key=True, serialize=False),
                ),
                ("lane", models.CharField(max_length=64)),
            ],
        ),
        migrations.RunPython(settle, migrations.RunPython.noop),
        # Whoever saves a connection adds its session's lane; no row says whose it is.
        shared_rows("connections_sessionlane", add=True),
    ]
