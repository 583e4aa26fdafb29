"""A rule that counts from the entry price is judged again when an entry adds to the position.

The average price changes then, so prices from before must not count: a stop at a level that they
reached might be beyond the market. A stop at the average before is moved to the new one when its
profit is reached again, unless a person or a target has set it.
"""

from django.db import migrations

JUDGED_AGAIN = """
CREATE FUNCTION positions_stoprule_grown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE positions_stoprule SET water_mark = NULL, water_mark_at = clock_timestamp(),
    break_even_done = break_even_done AND (break_even_profit IS NULL
      OR moved_to IS DISTINCT FROM NEW.sl
      OR coalesce(NEW.tp_number > break_even_target, false))
  WHERE position_id = NEW.id
    AND (break_even_profit IS NOT NULL OR trailing_activation IS NOT NULL);
  RETURN NULL;
END $$;
CREATE TRIGGER positions_stoprule_grown
AFTER UPDATE ON positions_executionposition FOR EACH ROW
WHEN (NEW.opened_quantity > OLD.opened_quantity AND NEW.entry_price <> OLD.entry_price)
EXECUTE FUNCTION positions_stoprule_grown()
"""


class Migration(migrations.Migration):
    dependencies = [("positions", "0003_stop_rule_indexes")]

    operations = [migrations.RunSQL(JUDGED_AGAIN)]
