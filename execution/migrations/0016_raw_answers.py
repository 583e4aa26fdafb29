"""A broker's answer that makes no sense is kept as it came: the log has room for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0015_longer_roles")]

    operations = [
        migrations.AlterField(
            model_name="executionlog",
            name="detail",
            field=models.CharField(blank=True, db_default="", default="", max_length=2000),
        ),
    ]
