-- What PostgreSQL lets every session do, and none of ours does: temporary tables, large objects,
-- tables of its own. Who owns the database may revoke the first; large objects belong to the server's
-- superuser, whose script (deploy/roles.sh) revokes them. `manage.py doctor` says what is left.
DO $$
DECLARE one text;
BEGIN
  FOREACH one IN ARRAY ARRAY[
    format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()),
    'REVOKE CREATE ON SCHEMA public FROM PUBLIC'
  ] || ARRAY(
    SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f.oid::regprocedure)
    FROM pg_proc f WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.proname IN
      ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'lo_truncate', 'lo_truncate64')
  ) LOOP
    BEGIN
      EXECUTE one;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE '%: the owner may not; run it as a superuser', one;
    END;
  END LOOP;
END $$;
