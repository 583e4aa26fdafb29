"""Invitations in the audit trail, and the schedule of mails about logins."""

from django.db import migrations
from django.utils import timezone

from common.audit_trail_sql import track

# name, task, seconds, description
EVERY = (
    (
        "send mails about logins",
        "users.send_account_mails",
        3,
        "Sends the links of sign-up, new passwords and confirmed addresses.",
    ),
    (
        "make archives of users' data",
        "users.build_data_exports",
        5,
        "Makes the archives that users ask for under “Your data”; deletes old ones.",
    ),
)


def write(apps, schema_editor):
    """Create the missing schedules; existing ones stay, since operators may change them."""
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    for name, path, seconds, description in EVERY:
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
            name=name,
            defaults={
                "task": path,
                "interval": every,
                "queue": "maintenance",
                "expire_seconds": seconds,
                "description": description,
            },
        )
    # a running beat reloads its schedules when this time changes
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0003_exchange_hours"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("users", "0003_data_export"),
    ]
    operations = [
        track("users_invitation", secrets=("secret_hash",), ignored=()),
        migrations.RunPython(write, migrations.RunPython.noop),
    ]
