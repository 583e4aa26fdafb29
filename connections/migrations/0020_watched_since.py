"""When a connection was switched on: who was asked by nobody before is not called silent for it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0019_identity_of'),
    ]

    operations = [
        migrations.AddField(
            model_name='connectionhealth',
            name='watched_since',
            field=models.DateTimeField(help_text='When it was switched on: its silence before says nothing.', null=True),
        ),
    ]
