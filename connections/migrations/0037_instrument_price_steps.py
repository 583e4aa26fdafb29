from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0036_contradicted_book"),
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
