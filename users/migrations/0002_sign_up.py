"""Sign-up, invitations, mails about logins, and sessions that know their user."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

from common.migration_sql import run_file
from common.row_security import TENANT, operator_rows, shared_rows, tenant_rows

# A visitor, who has no user, may add one without rights.
NEW_TENANT = f"{TENANT} IS NULL AND NOT is_staff AND NOT is_superuser"


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("users", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountMail",
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
                            ("sign up", "Link to sign up"),
                            ("reset", "Link to a new password"),
                            ("confirm", "Link that confirms an address"),
                            ("password reset", "A password was replaced by a link"),
                            ("address changed", "The address was replaced"),
                            ("deleted", "The login was deleted"),
                        ],
                        max_length=20,
                    ),
                ),
                ("address", models.EmailField(max_length=254)),
                ("user_id", models.BigIntegerField(blank=True, null=True)),
                ("name", models.CharField(blank=True, db_default="", default="", max_length=150)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "due_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("tries", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("secret_hash", models.CharField(max_length=64, unique=True)),
                (
                    "note",
                    models.CharField(
                        help_text="For whom it is, as operators will read it.", max_length=200
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("used_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-created_at", "-id"),
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="LoginSession",
            fields=[
                (
                    "session_key",
                    models.CharField(
                        max_length=40, primary_key=True, serialize=False, verbose_name="session key"
                    ),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("user_id", models.BigIntegerField(db_index=True, null=True)),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="user",
            name="email_confirmed_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When the user proved that they read the address. Another address is unproven.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="full_name",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="As you write it.", max_length=255
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("email"),
                condition=models.Q(("email_confirmed_at__isnull", False)),
                name="one_user_of_a_confirmed_address",
                violation_error_message="Another user has confirmed this e-mail address.",
            ),
        ),
        migrations.AddIndex(
            model_name="accountmail",
            index=models.Index(
                condition=models.Q(("done_at__isnull", True)), fields=["due_at"], name="mail_due"
            ),
        ),
        migrations.AddIndex(
            model_name="accountmail",
            index=models.Index(
                condition=models.Q(("done_at__isnull", False)), fields=["done_at"], name="mail_done"
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="created_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="used_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("used_at__isnull", True), ("used_by__isnull", True)),
                    models.Q(("used_at__isnull", False), ("used_by__isnull", False)),
                    _connector="OR",
                ),
                name="a_used_invitation_has_a_user",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("used_at__isnull", True), ("revoked_at__isnull", True), _connector="OR"
                ),
                name="a_revoked_invitation_is_not_used",
            ),
        ),
        tenant_rows("users_user", f"id = {TENANT}", read="true", add=NEW_TENANT),
        operator_rows("users_invitation"),
        operator_rows("users_accountmail", add=True),
        shared_rows("users_loginsession", writable=True),  # read before the user is known
        run_file(__file__, "sign_up.sql"),
    ]
