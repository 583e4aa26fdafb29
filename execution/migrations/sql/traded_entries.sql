-- The entry of a trade holds its signal and its account by foreign keys; the fill's key to the account
-- and the position's two keys have no constraint of their own (docs/adr/0063). So the entry must not
-- be deleted before them, nor get other ones. Entries that never traded leave by
-- `execution_remove_archived_orders`.
CREATE FUNCTION public.execution_refuse_deletion() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF OLD.filled_quantity > 0 OR EXISTS (
    SELECT FROM public.positions_executionposition p
    WHERE p.connection_id = OLD.connection_id AND p.signal_id = OLD.signal_id) THEN
    RAISE EXCEPTION 'Entry % has traded and cannot be deleted.', OLD.id
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER traded_entry BEFORE DELETE ON public.execution_order FOR EACH ROW
WHEN (OLD.position_id IS NULL) EXECUTE FUNCTION public.execution_refuse_deletion();

CREATE FUNCTION public.execution_refuse_other_keys() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'Order % keeps its signal and its account.', OLD.id
    USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER keys_of_order BEFORE UPDATE OF signal_id, connection_id ON public.execution_order
FOR EACH ROW
WHEN (OLD.signal_id IS DISTINCT FROM NEW.signal_id OR OLD.connection_id <> NEW.connection_id)
EXECUTE FUNCTION public.execution_refuse_other_keys();
