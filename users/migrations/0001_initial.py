"""Users, their second factors and API keys, the roles of staff, and who may change them."""

from django.conf import settings
from django.contrib.auth.models import UserManager
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
from django.utils import timezone

from common.migration_sql import run_file
from common.permissions import read_only_rights
from common.row_security import MINE, TENANT, WEB, operator_rows, shared_rows, tenant_rows

# common/permissions.py as it was when this was written; tests/users/test_permissions.py compares them.
READ = ["read_everything"]
KILL_SWITCH = ["set_kill_switch", "release_kill_switch"]
OPERATORS = [
    *READ,
    *KILL_SWITCH,
    "publish_signals",
    "approve_signals",
    "manage_feeds",
    "trade",
    "retry_orders",
    "decide_differences",
    "manage_connections",
    "replace_credentials",
    "manage_price_sources",
    "share_price_sources",
    "manage_maintenance",
    "manage_paper_broker",
]
ALL = [*OPERATORS, "change_limits", "manage_schedules", "manage_users", "manage_api_keys"]
ROLES = {
    "administrator": ALL,
    "operator": OPERATORS,
    "risk officer": [*READ, *KILL_SWITCH, "change_limits"],
    "support": READ,
}


def add_roles(apps, schema_editor):
    """Write a group for each role of staff, with its rights."""
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    of_users, _ = ContentType.objects.get_or_create(app_label="users", model="user")
    rights = {
        name: Permission.objects.get_or_create(
            content_type=of_users, codename=name, defaults={"name": name.replace("_", " ")}
        )[0]
        for name in ALL
    }
    for name, may in ROLES.items():
        Group.objects.create(name=name).permissions.set([rights[one] for one in may])


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("common", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                (
                    "last_login",
                    models.DateTimeField(blank=True, null=True, verbose_name="last login"),
                ),
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
                        unique=True,
                        validators=[UnicodeUsernameValidator()],
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
                    models.DateTimeField(default=timezone.now, verbose_name="date joined"),
                ),
                (
                    "email",
                    models.EmailField(blank=True, max_length=254, verbose_name="email address"),
                ),
                (
                    "time_zone",
                    models.CharField(default="UTC", help_text="For screens only.", max_length=64),
                ),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "verbose_name": "user",
                "verbose_name_plural": "users",
                "permissions": [
                    ("read_everything", "read everything"),
                    ("publish_signals", "publish signals"),
                    ("approve_signals", "approve signals"),
                    ("manage_feeds", "manage feeds"),
                    ("trade", "trade"),
                    ("retry_orders", "retry orders"),
                    ("decide_differences", "decide differences"),
                    ("manage_connections", "manage connections"),
                    ("replace_credentials", "replace credentials"),
                    ("change_limits", "change limits"),
                    ("set_kill_switch", "set kill switch"),
                    ("release_kill_switch", "release kill switch"),
                    ("manage_price_sources", "manage price sources"),
                    ("share_price_sources", "share price sources"),
                    ("manage_maintenance", "manage maintenance"),
                    ("manage_paper_broker", "manage paper broker"),
                    ("manage_schedules", "manage schedules"),
                    ("manage_users", "manage users"),
                    ("manage_api_keys", "manage api keys"),
                ],
            },
            managers=[("objects", UserManager())],
        ),
        migrations.CreateModel(
            name="SecondFactor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        related_name="second_factor",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("sealed_secret", models.BinaryField()),
                (
                    "last_step",
                    models.BigIntegerField(help_text="The time step whose code was used last."),
                ),
                ("enrolled_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="RecoveryCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="recovery_codes",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("code_hash", models.CharField(max_length=64)),
                ("used_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("user", "code_hash"), name="one_recovery_code")
                ],
            },
        ),
        migrations.CreateModel(
            name="TryCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("scope", models.CharField(max_length=40)),
                ("digest", models.CharField(max_length=64)),
                ("tries", models.PositiveIntegerField()),
                ("ends_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("scope", "digest"), name="one_count_of_a_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="TrailStatus",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("broken_at", models.DateTimeField(null=True)),
                ("findings", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="one_trail_status")
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="api_keys",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("prefix", models.CharField(max_length=12, unique=True)),
                ("secret_hash", models.CharField(max_length=64)),
                (
                    "scopes",
                    ArrayField(
                        base_field=models.CharField(max_length=16),
                        default=read_only_rights,
                        size=None,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-created_at",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("scopes__contained_by", ["read", "trade", "publish", "operate"]),
                            ("scopes__len__gt", 0),
                        ),
                        name="a_key_has_known_scopes",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKeyNotice",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="end_notice",
                        serialize=False,
                        to="users.apikey",
                    ),
                ),
                ("stage", models.SmallIntegerField()),
                ("ends_at", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
        tenant_rows("users_user", f"id = {TENANT}", read="true", add="false"),
        tenant_rows("users_apikey", MINE),
        operator_rows("users_apikeynotice"),
        # Read before the user is known: a hidden one would look as if there were none.
        tenant_rows("users_secondfactor", MINE, read="true"),
        tenant_rows("users_recoverycode", MINE),
        shared_rows("users_trycount", writable=True),  # counted before the user is known
        # The web role reads that the audit trail is broken, and cannot end that alarm.
        operator_rows("users_trailstatus"),
        migrations.RunSQL(
            f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON users_trailstatus FROM {WEB}"
        ),
        *(
            shared_rows(table)
            for table in (
                "auth_group",
                "auth_group_permissions",
                "auth_permission",
                "django_content_type",
                "users_user_groups",
                "users_user_user_permissions",
            )
        ),
        run_file(__file__, "guards.sql"),
        migrations.RunPython(add_roles),
    ]
