"""Epochs: the lives of this database, and the mark by which a restored one is told from the rest."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import common.database
from common.row_security import TRADE, operator_rows

CLOCK = common.database.ClockTimestamp()
MARK = f"""
CREATE SEQUENCE fillcast_mark;
GRANT USAGE, SELECT, UPDATE ON SEQUENCE fillcast_mark TO {TRADE};
"""


class Migration(migrations.Migration):
    dependencies = [("connections", "0005_auto_correct")]

    operations = [
        migrations.CreateModel(
            name="Epoch",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("lineage", models.UUIDField(default=uuid.uuid4)),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("FOUNDED", "The first life of this database"),
                            ("COMMAND", "Said by an operator"),
                            ("BEHIND", "The database is older than what was seen of it"),
                            (
                                "PROMOTED",
                                "Another timeline: a standby was promoted, or a backup recovered",
                            ),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "note",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
                ("evidence", models.JSONField(db_default={}, default=dict)),
                (
                    "since",
                    models.DateTimeField(
                        db_default=CLOCK,
                        help_text="Rows written after this moment are of this life; older ones may"
                        " lack a sequel.",
                    ),
                ),
                ("opened_at", models.DateTimeField(db_default=CLOCK)),
                (
                    "opened_by",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
                (
                    "answer_by",
                    models.DateTimeField(
                        db_default=CLOCK,
                        help_text="Until then a process of the life before may still send what it"
                        " had in hand.",
                    ),
                ),
                (
                    "books_read_at",
                    models.DateTimeField(
                        help_text="When brokers that show their books were asked for what we"
                        " forgot.",
                        null=True,
                    ),
                ),
                (
                    "treated",
                    models.JSONField(
                        db_default={}, default=dict, help_text="What became of the rows."
                    ),
                ),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "released_by",
                    models.CharField(blank=True, db_default="", default="", max_length=150),
                ),
                (
                    "release_note",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
                (
                    "left_open",
                    models.JSONField(
                        db_default=[],
                        default=list,
                        help_text="What was unsettled when somebody released it.",
                    ),
                ),
                (
                    "kill_switch",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="epoch",
                        to="connections.killswitch",
                    ),
                ),
            ],
            options={
                "ordering": ("-number",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=("lineage",),
                        name="one_open_epoch",
                    )
                ],
            },
        ),
        operator_rows("connections_epoch"),
        migrations.RunSQL(MARK, "DROP SEQUENCE fillcast_mark"),
    ]
