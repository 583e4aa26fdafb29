-- For how many seconds the oldest order of all accounts has been due; NULL: none is. One that has
-- been due for longer than `stuck` seconds waits for something else than the machine. A web session
-- sees its tenant's orders only, and learns no more than this number.
CREATE FUNCTION public.execution_backlog(stuck float8) RETURNS float8
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT extract(epoch FROM statement_timestamp() - min(due_at))::float8
  FROM public.execution_order
  WHERE status = 'PENDING' AND id > 0 AND due_at <= statement_timestamp()
    AND due_at > statement_timestamp() - make_interval(secs => stuck)
$$;
