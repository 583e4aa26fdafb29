"""An account in error says when it is read again by itself: a refused login rarely, others soon."""

from django.db import migrations, models

# Who is refused now was told so already: not all of them at once when this is installed.
WAIT = """
UPDATE connections_connectionhealth SET read_after = clock_timestamp() + interval '30 minutes'
WHERE status = 'ERROR' AND unreachable_at IS NULL
"""


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0007_hosts_that_are_away'),
    ]

    operations = [
        migrations.AddField(
            model_name='connectionhealth',
            name='read_after',
            field=models.DateTimeField(help_text='Its account is not read by itself before; set with an error.', null=True),
        ),
        migrations.RunSQL(WAIT, migrations.RunSQL.noop),
    ]
