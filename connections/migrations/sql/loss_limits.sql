-- What a session of the web role may not write of loss limits and their pauses
-- (users/migrations/sql/guards.sql has the functions and states why).

-- Pauses are written by trading processes. The web role resumes, and forgets a deleted limit.
REVOKE UPDATE, DELETE ON connections_tradingpause FROM fillcast_web;
GRANT UPDATE (ended_at, ended_by_id, is_resumed_by_hand, limit_id)
  ON connections_tradingpause TO fillcast_web;
REVOKE UPDATE, DELETE ON connections_accounthistory FROM fillcast_web;
REVOKE UPDATE, DELETE ON connections_cashflow FROM fillcast_web;

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_losslimit FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_tradingpause FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_cashflow FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
