-- What a session of the web role may not write of decision providers and calendars
-- (users/migrations/sql/guards.sql has the functions and states why).

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_decisionprovider FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_newscalendar FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
