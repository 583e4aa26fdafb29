"""When it was told that nothing is heard of an account."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0016_session_lanes'),
    ]

    operations = [
        migrations.AddField(
            model_name='connectionhealth',
            name='silence_told_at',
            field=models.DateTimeField(help_text='When it was told that nothing is heard of it (connections/silence).', null=True),
        ),
    ]
