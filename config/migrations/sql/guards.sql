-- Only operators may change schedules (users/migrations/sql/guards.sql).
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON django_celery_beat_periodictask FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON django_celery_beat_intervalschedule FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON django_celery_beat_crontabschedule FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON django_celery_beat_clockedschedule FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON django_celery_beat_solarschedule FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
