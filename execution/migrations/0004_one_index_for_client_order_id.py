"""`unique=True` keeps a second index up to date, for LIKE, which nobody asks: 5 % of an order."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0003_audit_trail'),
        ('execution', '0003_lookups'),
        ('positions', '0002_row_security'),
        ('signals', '0004_row_security'),
    ]

    operations = [
        migrations.AlterField(
            model_name='order',
            name='client_order_id',
            field=models.CharField(max_length=18, null=True),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.UniqueConstraint(fields=('client_order_id',), name='one_client_order_id'),
        ),
    ]
