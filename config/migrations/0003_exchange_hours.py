"""The schedule of `connections.refresh_exchange_hours`."""

from django.db import migrations
from django.utils import timezone

NAME, TASK = "refresh exchange hours", "connections.refresh_exchange_hours"


def write(apps, schema_editor):
    """Create the schedule if it is missing; operators may change it."""
    at, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="35",
        hour="*",
        day_of_week="*",
        day_of_month="*",
        month_of_year="*",
        timezone="UTC",
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=NAME,
        defaults={
            "task": TASK,
            "crontab": at,
            "queue": "maintenance",
            "expire_seconds": 1800,
            "description": "Stores when exchanges are open in the next days.",
        },
    )
    # a running beat reloads its schedules when this time changes
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0002_thin_account_history"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
