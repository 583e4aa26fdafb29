"""How far a lane was read, and whether an operator has paused it; decisions on the audit trail."""

from typing import Any

from django.db import migrations, models

from common.audit_trail_sql import track

WRITTEN_OFTEN = (
    "polled_at", "failures", "last_error", "last_error_at", "alerted_at", "cursor", "bus",
    "position", "last_message_at",
)  # fmt: skip


def _text(length: int) -> Any:
    return models.CharField(blank=True, db_default="", default="", max_length=length)


class Migration(migrations.Migration):
    dependencies = [("buses", "0005_alerted_messages")]

    operations = [
        migrations.AlterModelOptions(
            name="buslane",
            options={
                "ordering": ("name",),
                "verbose_name": "lane from a bus",
                "verbose_name_plural": "lanes from buses",
            },
        ),
        migrations.AddField("buslane", "bus", _text(200)),
        migrations.AddField("buslane", "position", _text(200)),
        migrations.AddField("buslane", "last_message_at", models.DateTimeField(null=True)),
        migrations.AddField("buslane", "paused_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("buslane", "paused_by", _text(150)),
        track("buses_buslane", ignored=WRITTEN_OFTEN),
        track("buses_busmessage", ignored=("body",), decided=("decided_by_id",)),
    ]
