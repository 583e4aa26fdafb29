"""A cancel that is not answered is asked again less and less often."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('execution', '0004_one_index_for_client_order_id'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='wish_tries',
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
    ]
