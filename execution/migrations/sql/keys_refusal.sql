-- The refusal has the code of all other refused changes of a row (order_status.sql): check_violation.
CREATE OR REPLACE FUNCTION public.execution_refuse_other_keys() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'Order % keeps its signal and its account.', OLD.id
    USING ERRCODE = 'check_violation';
END $$;
