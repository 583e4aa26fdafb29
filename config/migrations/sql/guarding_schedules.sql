-- Schedules that guard money (console/guarding_schedules.py; a test compares the limits).
CREATE FUNCTION public.fillcast_slowest(task text) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE task
    WHEN 'execution.watch_positions' THEN 300
    WHEN 'execution.reconcile' THEN 1500
    WHEN 'execution.audit' THEN 18000
    WHEN 'events.deliver' THEN 10
    WHEN 'connections.refresh_accounts' THEN 300 END
$$;

CREATE FUNCTION public.fillcast_seconds(every integer, period text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE period
    WHEN 'days' THEN every::bigint * 86400 WHEN 'hours' THEN every::bigint * 3600
    WHEN 'minutes' THEN every::bigint * 60 WHEN 'seconds' THEN every::bigint
    ELSE every::bigint / 1000000 END
$$;

CREATE FUNCTION public.fillcast_guard_schedule() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE slowest integer := public.fillcast_slowest(OLD.task);
BEGIN
  IF slowest IS NULL OR NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF TG_OP = 'DELETE' THEN
    PERFORM public.fillcast_refuse(OLD.name || ' guards money: it stays.');
  ELSIF NOT NEW.enabled OR NEW.interval_id IS NULL OR coalesce(NEW.expire_seconds, 2) < 2
      OR (NEW.task, NEW.queue, NEW.exchange, NEW.routing_key, NEW.headers, NEW.args, NEW.kwargs,
          NEW.one_off, NEW.start_time, NEW.expires) IS DISTINCT FROM
         (OLD.task, OLD.queue, OLD.exchange, OLD.routing_key, OLD.headers, OLD.args, OLD.kwargs,
          OLD.one_off, OLD.start_time, OLD.expires)
      OR EXISTS (SELECT FROM public.django_celery_beat_intervalschedule i
                 WHERE i.id = NEW.interval_id
                   AND public.fillcast_seconds(i.every, i.period) > slowest) THEN
    PERFORM public.fillcast_refuse(OLD.name || ' guards money: it may only be slowed a little.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER fillcast_guard_schedule BEFORE UPDATE OR DELETE
  ON django_celery_beat_periodictask FOR EACH ROW EXECUTE FUNCTION fillcast_guard_schedule();

CREATE FUNCTION public.fillcast_guard_interval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF public.fillcast_is_web_session() AND EXISTS (
      SELECT FROM public.django_celery_beat_periodictask t
      WHERE t.interval_id = NEW.id AND public.fillcast_slowest(t.task)
        < public.fillcast_seconds(NEW.every, NEW.period)) THEN
    PERFORM public.fillcast_refuse('What runs by this interval guards money.');
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fillcast_guard_interval BEFORE UPDATE
  ON django_celery_beat_intervalschedule FOR EACH ROW EXECUTE FUNCTION fillcast_guard_interval();
