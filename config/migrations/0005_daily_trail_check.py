"""Once a day a worker checks the whole audit trail, not only its new lines."""

from django.db import migrations
from django.utils import timezone


def write(apps, schema_editor):
    daily, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="40", hour="3", day_of_week="*", day_of_month="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="verify the audit trail",
        defaults={
            "task": "config.verify_trail",
            "crontab": daily,
            "queue": "maintenance",
            "expire_seconds": 12 * 3600,
            "description": "Checks every line of the trail; operators get an alarm if it is broken.",
        },
    )
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0004_track_second_factors"),
        ("users", "0010_trail_status"),
        ("events", "0009_audit_trail_alarm"),
    ]
    operations = [migrations.RunPython(write, migrations.RunPython.noop)]
