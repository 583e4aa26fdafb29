-- A session of a tenant asks for approval and withdraws the request; it decides none.
CREATE FUNCTION signals_request_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF signals_is_tenant_session()
      AND (TG_OP = 'INSERT' AND NEW.outcome <> ''
        OR TG_OP = 'UPDATE' AND (OLD.outcome <> '' OR NEW.outcome <> 'WITHDRAWN'
          OR (NEW.feed_id, NEW.text, NEW.requested_by_id, NEW.requested_at, NEW.sentence)
            IS DISTINCT FROM
            (OLD.feed_id, OLD.text, OLD.requested_by_id, OLD.requested_at, OLD.sentence))) THEN
    RAISE insufficient_privilege USING MESSAGE = 'only an operator decides about an approval';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER signals_request_decision BEFORE INSERT OR UPDATE ON signals_approvalrequest
FOR EACH ROW EXECUTE FUNCTION signals_request_decision();
