"""Which lane a connection is in, and who holds which lane."""

import re
from typing import Any
from zlib import crc32

from django.conf import settings
from django.db import migrations, models

from common.row_security import shared_rows

# The kinds with sessions as they were when this was written: what they say later, and whether a
# kind's package is installed where this runs, must not change what comes of it. Other kinds'
# connections get their lane when they are saved or tested next (connections/testing.py).
BY_FOLDER = ("mt4", "mt5-dwx")
BY_THEMSELVES = ("ibkr",)
TERMINAL = re.compile(r"[a-z0-9_-]{1,40}")


def give_lanes(apps: Any, _: Any) -> None:
    """Each connection of a broker with sessions gets its lane."""
    found = apps.get_model("connections", "ExecutionConnection").objects
    with_sessions = found.filter(type__in=[*BY_FOLDER, *BY_THEMSELVES, "mt5"])
    for one in with_sessions.only("id", "type", "settings"):
        if lane := _lane_of(one):
            found.filter(pk=one.pk).update(lane=lane)


def _lane_of(one: Any) -> str:
    if one.type == "mt5":
        terminal = str(one.settings.get("terminal") or "main").lower()
        return f"mt5.{terminal}" if TERMINAL.fullmatch(terminal) else ""
    folder = str(one.settings.get("folder") or "") if one.type in BY_FOLDER else ""
    key = f"mt4 {folder.casefold()}" if folder else str(one.pk)
    return f"sessions.{crc32(key.encode()) % settings.FILLCAST_SESSION_LANES}"


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0009_maintenance_windows"),
    ]

    operations = [
        migrations.CreateModel(
            name="LaneLease",
            fields=[
                ("lane", models.CharField(max_length=64, primary_key=True, serialize=False)),
                (
                    "owner",
                    models.CharField(
                        help_text="A trading process, as in its own lease.", max_length=80
                    ),
                ),
                ("fence", models.BigIntegerField(db_default=1, default=1)),
                (
                    "taken_at",
                    models.DateTimeField(help_text="No comparison that began before counts."),
                ),
                ("until", models.DateTimeField(help_text="By the database's clock.")),
            ],
        ),
        migrations.RemoveField(
            model_name="connectionhealth",
            name="lane_owner",
        ),
        migrations.AddField(
            model_name="executionconnection",
            name="lane",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Which worker speaks to it: empty for any, else a queue's name.",
                max_length=64,
            ),
        ),
        migrations.RunPython(give_lanes, migrations.RunPython.noop),
        shared_rows("connections_lanelease"),
    ]
