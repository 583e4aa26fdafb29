"""The constraint on position legs holds for all rows: checked while orders are written."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("execution", "0020_position_leg")]

    operations = [ValidateConstraint(model_name="order", name="fills_position_of_its_leg")]
