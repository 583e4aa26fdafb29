from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0035_provider_made_with"),
    ]

    operations = [
        migrations.AddField(
            model_name="instrument",
            name="price_steps",
            field=models.JSONField(
                blank=True,
                help_text="Ticks that depend on the price: from which price on, and the tick; empty: none.",
                null=True,
            ),
        ),
    ]
