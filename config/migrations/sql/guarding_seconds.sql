-- Loss limits are judged by what this schedule reads.
CREATE OR REPLACE FUNCTION public.fillcast_slowest(task text) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE task
    WHEN 'execution.watch_positions' THEN 300
    WHEN 'execution.reconcile' THEN 1500
    WHEN 'execution.audit' THEN 18000
    WHEN 'events.deliver' THEN 10
    WHEN 'connections.refresh_accounts' THEN 300 END
$$;

-- The seconds of an interval, in parts of them too: 2,000,000,000 microseconds are half an hour.
CREATE OR REPLACE FUNCTION public.fillcast_seconds(every integer, period text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE period
    WHEN 'days' THEN every::bigint * 86400 WHEN 'hours' THEN every::bigint * 3600
    WHEN 'minutes' THEN every::bigint * 60 WHEN 'seconds' THEN every::bigint
    ELSE every::bigint / 1000000 END
$$;
