-- The entry of a trade holds its signal and its account by foreign keys; its fills and its position
-- have none of their own (docs/adr/0063). So it must not be deleted before them. Entries that never
-- traded leave by `execution_remove_archived_orders`; exits that were inferred may be replaced.
CREATE FUNCTION public.execution_refuse_deletion() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'Entry % has traded and cannot be deleted.', OLD.id
    USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER traded_entry BEFORE DELETE ON public.execution_order FOR EACH ROW
WHEN (OLD.position_id IS NULL AND OLD.filled_quantity > 0)
EXECUTE FUNCTION public.execution_refuse_deletion();
