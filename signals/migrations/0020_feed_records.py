"""The record of each feed: a hash chain of what it publishes. What exists is sealed now."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import common.fields
from signals.record_sql import install


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0019_providers"),
        ("common", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="RecordHead",
            fields=[
                (
                    "feed",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="signals.feed",
                    ),
                ),
                ("links", models.BigIntegerField()),
                ("hash", models.CharField(blank=True, max_length=64)),
                ("sealed_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="RecordStatus",
            fields=[
                (
                    "feed",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="signals.feed",
                    ),
                ),
                ("verified_at", models.DateTimeField(help_text="Machine time.")),
                ("number", models.BigIntegerField(help_text="The last link that was checked.")),
                ("findings", models.TextField(blank=True, default="")),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="feed",
            name="record_is_public",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Its record has a page that needs no sign-in, as long as the feed is public.",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="market_ask",
            field=common.fields.AmountField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="signal",
            name="market_at",
            field=models.DateTimeField(
                editable=False,
                help_text="Of the newest quote when it was published, market clock.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="market_bid",
            field=common.fields.AmountField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="signal",
            name="market_source",
            field=models.BigIntegerField(
                editable=False, help_text="The price source of that quote.", null=True
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="marks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=20),
                db_default=[],
                default=list,
                editable=False,
                help_text="What its publication came too late for; docs/records.md.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="sent_at",
            field=models.DateTimeField(
                editable=False, help_text="When it was sent, by its sender's clock.", null=True
            ),
        ),
        migrations.CreateModel(
            name="RecordAnchor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("number", models.BigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("signature", models.TextField()),
                (
                    "feed",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="signals.feed",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["feed", "id"], name="record_anchor_of_feed")],
            },
        ),
        migrations.CreateModel(
            name="RecordLink",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("OPEN", "Opened"),
                            ("MODIFY", "Modified"),
                            ("CLOSE", "Closed"),
                            ("CANCEL", "Cancelled"),
                        ],
                        max_length=6,
                    ),
                ),
                (
                    "terms",
                    models.JSONField(
                        help_text="The signal as published, with the market of that moment."
                    ),
                ),
                (
                    "salt",
                    models.CharField(
                        help_text="So that a withheld link cannot be guessed.", max_length=36
                    ),
                ),
                (
                    "sealed_later",
                    models.BooleanField(
                        default=False, help_text="It was published before its feed had a record."
                    ),
                ),
                (
                    "number",
                    models.BigIntegerField(
                        help_text="In its feed, without gaps, by commit.", null=True
                    ),
                ),
                (
                    "sealed_at",
                    models.DateTimeField(help_text="Machine time of the commit.", null=True),
                ),
                ("hash", models.CharField(max_length=64, null=True)),
                (
                    "feed",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="signals.feed",
                    ),
                ),
                (
                    "signal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="signals.signal",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["signal"], name="record_of_signal"),
                    models.Index(
                        condition=models.Q(("number", None)),
                        fields=["feed", "id"],
                        name="record_unnumbered",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("feed", "number"), name="one_link_of_a_number")
                ],
            },
        ),
        # From here on only triggers write a record.
        *install(),
    ]
