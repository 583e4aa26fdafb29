-- Levels of which a broker must be notified. The predicate of positions/broker_levels.py
-- DIFFERS_FROM_BROKER_SQL, word for word; Django's conditions cannot say it.
CREATE INDEX position_level_sync ON positions_executionposition (id) WHERE (
  protection_suspended AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL OR quantity > 0
    AND levels_reported_at IS NULL AND (sl_guardian = 'BROKER' OR tp_guardian = 'BROKER'))
  OR quantity > 0 AND NOT protection_suspended AND NOT levels_given_up AND (
    sl_guardian = 'BROKER' AND (coalesce(abs(sl - broker_sl) >= pip / 10,
      (sl IS NULL) <> (broker_sl IS NULL)) OR broker_sl_quantity <> quantity)
    OR coalesce(abs((CASE WHEN tp_guardian = 'BROKER' THEN tp END) - broker_tp) >= pip / 10,
      ((CASE WHEN tp_guardian = 'BROKER' THEN tp END) IS NULL) <> (broker_tp IS NULL))));

-- A change of what a rule depends on makes it due. A move by the rule itself does not: it has stored
-- the stop that it has set.
CREATE FUNCTION positions_stoprule_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE positions_stoprule SET due_at = clock_timestamp()
  WHERE position_id = NEW.id AND (known_stop IS DISTINCT FROM NEW.sl
    OR OLD.sl IS NOT DISTINCT FROM NEW.sl);
  RETURN NULL;
END $$;
CREATE TRIGGER positions_stoprule_due
AFTER UPDATE ON positions_executionposition FOR EACH ROW
WHEN ((OLD.sl, OLD.entry_price, OLD.tp_number, OLD.quantity = 0)
  IS DISTINCT FROM (NEW.sl, NEW.entry_price, NEW.tp_number, NEW.quantity = 0))
EXECUTE FUNCTION positions_stoprule_due();

-- A rule that counts from the entry price is judged again when an entry adds to the position. The
-- average price changes then, so prices from before must not count: a stop at a level that they
-- reached might be beyond the market. A stop at the average before is moved to the new one when its
-- profit is reached again, unless a person or a target has set it.
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
EXECUTE FUNCTION positions_stoprule_grown();

-- The owner sets by hand how a stop trails, and ends that: the columns that positions/owner_rules.py
-- sets; never whose rule it is.
REVOKE UPDATE ON positions_stoprule FROM fillcast_web;
GRANT UPDATE (trailing_origin, trailing_distance, trailing_step, trailing_activation, trailing_unit,
  known_stop, water_mark, water_mark_at, resumes_beyond, due_at) ON positions_stoprule
  TO fillcast_web;
