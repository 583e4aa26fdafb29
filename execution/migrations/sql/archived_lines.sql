-- No role of the application may delete lines of the execution log. This function deletes those that
-- a file of the archive has, by their number and range, and never one of the last seven days.
CREATE OR REPLACE FUNCTION public.execution_remove_archived_lines(file bigint, lines bigint[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE removed bigint;
BEGIN
  PERFORM FROM public.common_archivefile f
  WHERE f.id = file AND f.kind = 'logs' AND f.rows = cardinality(lines)
    AND f.first_id = (SELECT min(line) FROM unnest(lines) AS line)
    AND f.last_id = (SELECT max(line) FROM unnest(lines) AS line);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'These are not the lines of archive file %.', file;
  END IF;
  DELETE FROM public.execution_executionlog
  WHERE id = ANY(lines) AND at < clock_timestamp() - interval '7 days';
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;
REVOKE ALL ON FUNCTION public.execution_remove_archived_lines(bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.execution_remove_archived_lines(bigint, bigint[]) TO fillcast_trade;
