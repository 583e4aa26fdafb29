"""The schedule of `users.delete_ended_sessions`."""

from django.db import migrations
from django.utils import timezone

NAME, TASK = "delete ended sessions", "users.delete_ended_sessions"
HOUR, MINUTE = "3", "20"


def write(apps, schema_editor):
    """Create the schedule if it is missing; operators may change it."""
    daily, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute=MINUTE,
        hour=HOUR,
        day_of_week="*",
        day_of_month="*",
        month_of_year="*",
        timezone="UTC",
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=NAME,
        defaults={
            "task": TASK,
            "crontab": daily,
            "queue": "maintenance",
            "expire_seconds": 12 * 3600,
            "description": "Deletes sessions of browsers that have ended, and forms kept in them.",
        },
    )
    # a running beat reloads its schedules when this time changes
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0008_preflights"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
