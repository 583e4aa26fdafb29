-- No entry of an account that the signal's approval does not cover, whatever the code does.
--
-- An administrator's account takes entries of feeds that an operator approved, of the
-- administrator's own feeds, and of single signals that an operator approved where it is
-- subscribed to their feed. Judged once for each statement: a publication writes thousands of
-- orders by one. A row that is SKIPPED trades nothing and never changes. ADR 0020.
CREATE FUNCTION execution_order_audience() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  wrong record;
BEGIN
  SELECT o.id, c.id AS connection_id, s.id AS signal_id INTO wrong
  FROM added o
  JOIN signals_signal s ON s.id = o.signal_id
  JOIN signals_feed f ON f.id = s.feed_id
  JOIN connections_executionconnection c ON c.id = o.connection_id
  WHERE o.leg LIKE 'entry%' AND o.status <> 'SKIPPED' AND (
    (s.owner_only AND coalesce(c.user_id, c.admin_id) <> f.owner_id)
    OR (c.admin_id IS NOT NULL AND NOT s.reaches_admins AND c.admin_id <> f.owner_id
      AND NOT (s.approved_by_id IS NOT NULL AND EXISTS (
        SELECT FROM connections_subscription b
        WHERE b.connection_id = c.id AND b.feed_id = s.feed_id AND b.archived_at IS NULL))))
  LIMIT 1;
  IF FOUND THEN
    RAISE check_violation USING MESSAGE =
      format('the approval of signal %s does not cover connection %s',
        wrong.signal_id, wrong.connection_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER execution_order_audience AFTER INSERT ON execution_order
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION execution_order_audience();

-- Each connection has its account reading from when it is made, however it is made, so that no
-- polling has to look for those that lack one.
CREATE FUNCTION execution_sync_state_of_connection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO execution_accountsyncstate (connection_id) SELECT id FROM made ORDER BY id
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER sync_state_of_connection AFTER INSERT ON connections_executionconnection
REFERENCING NEW TABLE AS made FOR EACH STATEMENT
EXECUTE FUNCTION execution_sync_state_of_connection();
