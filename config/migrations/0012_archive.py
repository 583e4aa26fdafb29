"""The schedule of `config.archive_old_rows`."""

from django.db import migrations
from django.utils import timezone

NAME, TASK = "archive old rows", "config.archive_old_rows"


def write(apps, schema_editor):
    """Create the schedule if it is missing; operators may change it."""
    at, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="40",
        hour="*/6",
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
            "expire_seconds": 3600,
            "description": "Moves old rows to Parquet files: FILLCAST_RETENTION_ settings.",
        },
    )
    # a running beat reloads its schedules when this time changes
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0011_kept_answers"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
