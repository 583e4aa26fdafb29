"""Prices that a broker tells: by which account of ours, and how that fares."""

import django.contrib.postgres.fields
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

from common.row_security import ANYBODY_KNOWN, MINE, MY_CONNECTIONS, tenant_rows

MINE_OR_FOR_ALL = f"{MINE} OR (user_id IS NULL AND {ANYBODY_KNOWN})"
BY_MINE = f"{MINE} AND (told_by_id IS NULL OR told_by_id IN ({MY_CONNECTIONS}))"
# Its source is looked for under that table's own policy.
SEEN = "source_id IN (SELECT seen.id FROM connections_dataconnection seen)"
# Until now nobody followed these: whose prices they should be is not known.
OFF = """
UPDATE connections_dataconnection SET is_active = false WHERE kind = 'broker' AND is_active
"""


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0020_watched_since"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SourceHealth",
            fields=[
                (
                    "source",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="health",
                        serialize=False,
                        to="connections.dataconnection",
                    ),
                ),
                (
                    "told_at",
                    models.DateTimeField(
                        help_text="When its broker last proved to be there.", null=True
                    ),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, help_text="Empty: all is well.", max_length=40),
                ),
                (
                    "error",
                    models.CharField(
                        blank=True, help_text="In the broker's words.", max_length=500
                    ),
                ),
                ("failing_since", models.DateTimeField(null=True)),
                (
                    "pairs",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20),
                        default=list,
                        help_text="What is followed, canonical.",
                        size=None,
                    ),
                ),
                (
                    "missing",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20),
                        default=list,
                        help_text="What is followed, but has no usable price.",
                        size=None,
                    ),
                ),
                (
                    "followed_by",
                    models.CharField(blank=True, help_text="A trading process.", max_length=80),
                ),
            ],
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="dataconnection",
            name="insert_insert",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="dataconnection",
            name="update_update",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="dataconnection",
            name="delete_delete",
        ),
        migrations.AddField(
            model_name="dataconnection",
            name="told_by",
            field=models.OneToOneField(
                blank=True,
                help_text="The account whose broker tells these prices.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="tells",
                to="connections.executionconnection",
            ),
        ),
        migrations.AddField(
            model_name="dataconnectionevent",
            name="told_by",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="The account whose broker tells these prices.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="connections.executionconnection",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="dataconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_dataconnectionevent" ("created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "settings", "told_by_id", "user_id") VALUES (NEW."created_at", NEW."id", NEW."is_active", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."settings", NEW."told_by_id", NEW."user_id"); RETURN NULL;',
                    hash="17fe9e51484752da6333f007afbb633d641072b6",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_d0aaf",
                    table="connections_dataconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="dataconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "connections_dataconnectionevent" ("created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "settings", "told_by_id", "user_id") VALUES (NEW."created_at", NEW."id", NEW."is_active", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."settings", NEW."told_by_id", NEW."user_id"); RETURN NULL;',
                    hash="35928d9c6be40598166f46e5e70d725235b82f13",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_e55b2",
                    table="connections_dataconnection",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="dataconnection",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "connections_dataconnectionevent" ("created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "settings", "told_by_id", "user_id") VALUES (OLD."created_at", OLD."id", OLD."is_active", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."settings", OLD."told_by_id", OLD."user_id"); RETURN NULL;',
                    hash="6bafc188a581c43266bab25d28a5ceec627a68e5",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_90e49",
                    table="connections_dataconnection",
                    when="AFTER",
                ),
            ),
        ),
        migrations.RunSQL(OFF, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="dataconnection",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "broker"), ("told_by__isnull", True), _connector="OR"),
                name="only_a_broker_is_an_account",
            ),
        ),
        migrations.AddConstraint(
            model_name="dataconnection",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "broker"), _negated=True),
                    ("told_by__isnull", False),
                    ("is_active", False),
                    _connector="OR",
                ),
                name="a_broker_tells_by_an_account",
            ),
        ),
        tenant_rows("connections_dataconnection", BY_MINE, read=MINE_OR_FOR_ALL),
        tenant_rows("connections_sourcehealth", "false", read=SEEN),
    ]
