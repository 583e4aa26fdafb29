-- The roles of the application. The owner of the tables runs migrations; `fillcast_trade` works
-- for every tenant; `fillcast_web` sees the rows of one tenant (row-level security,
-- common/db/row_security.py). The login of a process is a member of one of them, or takes the role
-- on when it connects. Default privileges: what later migrations create is granted at once.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['fillcast_trade', 'fillcast_web'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', name);
      EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server
        WHEN insufficient_privilege THEN
          RAISE EXCEPTION 'Role % is missing and % may not create it.', name, current_user
            USING HINT = format('As a superuser: CREATE ROLE %I NOLOGIN; GRANT %I TO %I;',
                                name, name, current_user);
      END;
    END IF;
    IF NOT pg_has_role(current_user, name, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO %I', name, current_user);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %I',
                   name);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO %I', name);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public '
                   'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', name);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public '
                   'GRANT USAGE, SELECT ON SEQUENCES TO %I', name);
  END LOOP;
END $$;
