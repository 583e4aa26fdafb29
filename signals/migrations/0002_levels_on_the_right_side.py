"""Stop below, targets above the entry of a buy; the other way round for a sell.

Django's CheckConstraint cannot say `price < ALL (array)`, so this one is SQL.
"""

from django.db import migrations

ENTRY = "CASE order_type WHEN 'STOP' THEN stop_price ELSE open_price END"
ADD = f"""
ALTER TABLE signals_signal ADD CONSTRAINT levels_on_the_right_side CHECK (
  action <> 'OPEN' OR CASE direction
    WHEN 'BUY' THEN (sl IS NULL OR coalesce(sl < ({ENTRY}), true))
      AND coalesce(({ENTRY}) < ALL (target_prices), true) AND coalesce(sl < ALL (target_prices), true)
    WHEN 'SELL' THEN (sl IS NULL OR coalesce(sl > ({ENTRY}), true))
      AND coalesce(({ENTRY}) > ALL (target_prices), true) AND coalesce(sl > ALL (target_prices), true)
  END),
  ADD CONSTRAINT targets_have_fractions CHECK (
    cardinality(target_prices) = cardinality(target_fractions)
    AND 0 < ALL (target_fractions) AND 1 >= ALL (target_fractions) AND 0 < ALL (target_prices))
"""
DROP = """ALTER TABLE signals_signal DROP CONSTRAINT levels_on_the_right_side,
  DROP CONSTRAINT targets_have_fractions"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0001_initial")]
    operations = [migrations.RunSQL(ADD, DROP)]
