"""Versions of users, API keys and schedules, written by triggers; nobody rewrites them."""

import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

from common.history import context_rows, history_rows


class Migration(migrations.Migration):
    dependencies = [
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("pghistory", "0007_auto_20250421_0444"),
        ("users", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiKeyEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("prefix", models.CharField(max_length=12)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="ScheduleEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.IntegerField()),
                (
                    "name",
                    models.CharField(
                        help_text="Short Description For This Task",
                        max_length=200,
                        verbose_name="Name",
                    ),
                ),
                (
                    "task",
                    models.CharField(
                        help_text='The Name of the Celery Task that Should be Run.  (Example: "proj.tasks.import_contacts")',
                        max_length=200,
                        verbose_name="Task Name",
                    ),
                ),
                (
                    "args",
                    models.TextField(
                        blank=True,
                        default="[]",
                        help_text='JSON encoded positional arguments (Example: ["arg1", "arg2"])',
                        verbose_name="Positional Arguments",
                    ),
                ),
                (
                    "kwargs",
                    models.TextField(
                        blank=True,
                        default="{}",
                        help_text='JSON encoded keyword arguments (Example: {"argument": "value"})',
                        verbose_name="Keyword Arguments",
                    ),
                ),
                (
                    "queue",
                    models.CharField(
                        blank=True,
                        default=None,
                        help_text="Queue defined in CELERY_TASK_QUEUES. Leave None for default queuing.",
                        max_length=200,
                        null=True,
                        verbose_name="Queue Override",
                    ),
                ),
                (
                    "exchange",
                    models.CharField(
                        blank=True,
                        default=None,
                        help_text="Override Exchange for low-level AMQP routing",
                        max_length=200,
                        null=True,
                        verbose_name="Exchange",
                    ),
                ),
                (
                    "routing_key",
                    models.CharField(
                        blank=True,
                        default=None,
                        help_text="Override Routing Key for low-level AMQP routing",
                        max_length=200,
                        null=True,
                        verbose_name="Routing Key",
                    ),
                ),
                (
                    "headers",
                    models.TextField(
                        blank=True,
                        default="{}",
                        help_text="JSON encoded message headers for the AMQP message.",
                        verbose_name="AMQP Message Headers",
                    ),
                ),
                (
                    "priority",
                    models.PositiveIntegerField(
                        blank=True,
                        default=None,
                        help_text="Priority Number between 0 and 255. Supported by: RabbitMQ, Redis (priority reversed, 0 is highest).",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(255)],
                        verbose_name="Priority",
                    ),
                ),
                (
                    "expires",
                    models.DateTimeField(
                        blank=True,
                        help_text="Datetime after which the schedule will no longer trigger the task to run",
                        null=True,
                        verbose_name="Expires Datetime",
                    ),
                ),
                (
                    "expire_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Timedelta with seconds which the schedule will no longer trigger the task to run",
                        null=True,
                        verbose_name="Expires timedelta with seconds",
                    ),
                ),
                (
                    "one_off",
                    models.BooleanField(
                        default=False,
                        help_text="If True, the schedule will only run the task a single time",
                        verbose_name="One-off Task",
                    ),
                ),
                (
                    "start_time",
                    models.DateTimeField(
                        blank=True,
                        help_text="Datetime when the schedule should begin triggering the task to run",
                        null=True,
                        verbose_name="Start Datetime",
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True,
                        help_text="Set to False to disable the schedule",
                        verbose_name="Enabled",
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True,
                        help_text="Detailed description about the details of this Periodic Task",
                        verbose_name="Description",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="UserEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "username",
                    models.CharField(
                        error_messages={"unique": "A user with that username already exists."},
                        help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                        max_length=150,
                        validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                        verbose_name="username",
                    ),
                ),
                (
                    "first_name",
                    models.CharField(blank=True, max_length=150, verbose_name="first name"),
                ),
                (
                    "last_name",
                    models.CharField(blank=True, max_length=150, verbose_name="last name"),
                ),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                (
                    "date_joined",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="date joined"
                    ),
                ),
                (
                    "email",
                    models.EmailField(blank=True, max_length=254, verbose_name="email address"),
                ),
                (
                    "time_zone",
                    models.CharField(default="UTC", help_text="For screens only.", max_length=64),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("django_celery_beat.periodictask",),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "users_apikeyevent" ("created_at", "expires_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "user_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."user_id"); RETURN NULL;',
                    hash="91866d016c4203c5563ca8f1e61f5e9cba30469d",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_61cbb",
                    table="users_apikey",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."user_id" IS DISTINCT FROM (NEW."user_id"))',
                    func='INSERT INTO "users_apikeyevent" ("created_at", "expires_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "user_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."user_id"); RETURN NULL;',
                    hash="26e2826c67bcd5503f010c162c8313a404960ac5",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_3426b",
                    table="users_apikey",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "users_apikeyevent" ("created_at", "expires_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "user_id") VALUES (OLD."created_at", OLD."expires_at", OLD."id", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."prefix", OLD."revoked_at", OLD."user_id"); RETURN NULL;',
                    hash="64f6b56290e46e003111627a5141a080965679b1",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_4d5a3",
                    table="users_apikey",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="user",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "users_userevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "time_zone", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."time_zone", NEW."username"); RETURN NULL;',
                    hash="0d64b95a96d13b8743a783679e6dad92eb373444",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_52e78",
                    table="users_user",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="user",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."date_joined" IS DISTINCT FROM (NEW."date_joined") OR OLD."email" IS DISTINCT FROM (NEW."email") OR OLD."first_name" IS DISTINCT FROM (NEW."first_name") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."is_staff" IS DISTINCT FROM (NEW."is_staff") OR OLD."is_superuser" IS DISTINCT FROM (NEW."is_superuser") OR OLD."last_name" IS DISTINCT FROM (NEW."last_name") OR OLD."time_zone" IS DISTINCT FROM (NEW."time_zone") OR OLD."username" IS DISTINCT FROM (NEW."username"))',
                    func='INSERT INTO "users_userevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "time_zone", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."time_zone", NEW."username"); RETURN NULL;',
                    hash="aae68b86cceaf4812e451c9a81463f9c31d02e24",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_16e22",
                    table="users_user",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="user",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "users_userevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "time_zone", "username") VALUES (OLD."date_joined", OLD."email", OLD."first_name", OLD."id", OLD."is_active", OLD."is_staff", OLD."is_superuser", OLD."last_name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."time_zone", OLD."username"); RETURN NULL;',
                    hash="c5d221ab8841f900b7311798fa4d0500ee1b5825",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_56c96",
                    table="users_user",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="users.apikey",
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="user",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="scheduleevent",
            name="clocked",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Clocked Schedule to run the task on.  Set only one schedule type, leave the others null.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="django_celery_beat.clockedschedule",
                verbose_name="Clocked Schedule",
            ),
        ),
        migrations.AddField(
            model_name="scheduleevent",
            name="crontab",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Crontab Schedule to run the task on.  Set only one schedule type, leave the others null.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="django_celery_beat.crontabschedule",
                verbose_name="Crontab Schedule",
            ),
        ),
        migrations.AddField(
            model_name="scheduleevent",
            name="interval",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Interval Schedule to run the task on.  Set only one schedule type, leave the others null.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="django_celery_beat.intervalschedule",
                verbose_name="Interval Schedule",
            ),
        ),
        migrations.AddField(
            model_name="scheduleevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="scheduleevent",
            name="solar",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Solar Schedule to run the task on.  Set only one schedule type, leave the others null.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="django_celery_beat.solarschedule",
                verbose_name="Solar Schedule",
            ),
        ),
        migrations.AddField(
            model_name="userevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="userevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="scheduleevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="users.schedule",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="schedule",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "users_scheduleevent" ("args", "clocked_id", "crontab_id", "description", "enabled", "exchange", "expire_seconds", "expires", "headers", "id", "interval_id", "kwargs", "name", "one_off", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "queue", "routing_key", "solar_id", "start_time", "task") VALUES (NEW."args", NEW."clocked_id", NEW."crontab_id", NEW."description", NEW."enabled", NEW."exchange", NEW."expire_seconds", NEW."expires", NEW."headers", NEW."id", NEW."interval_id", NEW."kwargs", NEW."name", NEW."one_off", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."priority", NEW."queue", NEW."routing_key", NEW."solar_id", NEW."start_time", NEW."task"); RETURN NULL;',
                    hash="4ba1608b20e950f5bc041fbfa9a708efea730950",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_92de2",
                    table="django_celery_beat_periodictask",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="schedule",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."args" IS DISTINCT FROM (NEW."args") OR OLD."clocked_id" IS DISTINCT FROM (NEW."clocked_id") OR OLD."crontab_id" IS DISTINCT FROM (NEW."crontab_id") OR OLD."description" IS DISTINCT FROM (NEW."description") OR OLD."enabled" IS DISTINCT FROM (NEW."enabled") OR OLD."exchange" IS DISTINCT FROM (NEW."exchange") OR OLD."expire_seconds" IS DISTINCT FROM (NEW."expire_seconds") OR OLD."expires" IS DISTINCT FROM (NEW."expires") OR OLD."headers" IS DISTINCT FROM (NEW."headers") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."interval_id" IS DISTINCT FROM (NEW."interval_id") OR OLD."kwargs" IS DISTINCT FROM (NEW."kwargs") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."one_off" IS DISTINCT FROM (NEW."one_off") OR OLD."priority" IS DISTINCT FROM (NEW."priority") OR OLD."queue" IS DISTINCT FROM (NEW."queue") OR OLD."routing_key" IS DISTINCT FROM (NEW."routing_key") OR OLD."solar_id" IS DISTINCT FROM (NEW."solar_id") OR OLD."start_time" IS DISTINCT FROM (NEW."start_time") OR OLD."task" IS DISTINCT FROM (NEW."task"))',
                    func='INSERT INTO "users_scheduleevent" ("args", "clocked_id", "crontab_id", "description", "enabled", "exchange", "expire_seconds", "expires", "headers", "id", "interval_id", "kwargs", "name", "one_off", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "queue", "routing_key", "solar_id", "start_time", "task") VALUES (NEW."args", NEW."clocked_id", NEW."crontab_id", NEW."description", NEW."enabled", NEW."exchange", NEW."expire_seconds", NEW."expires", NEW."headers", NEW."id", NEW."interval_id", NEW."kwargs", NEW."name", NEW."one_off", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."priority", NEW."queue", NEW."routing_key", NEW."solar_id", NEW."start_time", NEW."task"); RETURN NULL;',
                    hash="ecf77dc934de40783cf18761c19c7f0040b8725d",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_68b00",
                    table="django_celery_beat_periodictask",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="schedule",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "users_scheduleevent" ("args", "clocked_id", "crontab_id", "description", "enabled", "exchange", "expire_seconds", "expires", "headers", "id", "interval_id", "kwargs", "name", "one_off", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "queue", "routing_key", "solar_id", "start_time", "task") VALUES (OLD."args", OLD."clocked_id", OLD."crontab_id", OLD."description", OLD."enabled", OLD."exchange", OLD."expire_seconds", OLD."expires", OLD."headers", OLD."id", OLD."interval_id", OLD."kwargs", OLD."name", OLD."one_off", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."priority", OLD."queue", OLD."routing_key", OLD."solar_id", OLD."start_time", OLD."task"); RETURN NULL;',
                    hash="d71f232ab247ac72decb9f180e65bac24486353f",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_896ed",
                    table="django_celery_beat_periodictask",
                    when="AFTER",
                ),
            ),
        ),
        *context_rows(),
        *history_rows("users_apikeyevent"),
        *history_rows("users_scheduleevent"),
        *history_rows("users_userevent"),
    ]
