"""A level that a broker is to be told of is claimed, so that no two processes move one stop."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('positions', '0003_open_ones_by_what_is_asked'),
    ]

    operations = [
        migrations.AddField(
            model_name='executionposition',
            name='levels_due_at',
            field=models.DateTimeField(help_text='When the broker is told (again) of levels that it does not hold.', null=True),
        ),
        migrations.AddField(
            model_name='executionposition',
            name='levels_tries',
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
    ]
