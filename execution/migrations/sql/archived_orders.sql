-- Entries leave the database by this function alone: those that a file of the archive has, by their
-- number and range, that ended at least 400 days ago, and that have no execution. What must still be
-- known of them is inserted in the same transaction (docs/adr/0054). What other tables have of an
-- order goes with it, and is in its file, too.
CREATE OR REPLACE FUNCTION public.execution_remove_archived_orders(file bigint, orders bigint[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  kept bigint;
  removed bigint;
BEGIN
  PERFORM FROM public.common_archivefile f
  WHERE f.id = file AND f.kind = 'orders' AND f.rows = cardinality(orders)
    AND f.first_id = (SELECT min(n) FROM unnest(orders) AS n)
    AND f.last_id = (SELECT max(n) FROM unnest(orders) AS n);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'These are not the orders of archive file %.', file;
  END IF;
  INSERT INTO public.execution_archivedorder (id, signal_id, connection_id, routed_from_id,
    route_state, status, reason, client_order_id, broker_order_id, pair, symbol, side, order_type,
    quantity, limit_price, stop_price, own_valid_until, created_at, submitted_at, acknowledged_at,
    done_at)
  SELECT o.id, o.signal_id, o.connection_id, o.routed_from_id, o.route_state, o.status, o.reason,
    o.client_order_id, o.broker_order_id, o.pair,
    CASE WHEN o.client_order_id IS NULL THEN '' ELSE o.symbol END, o.side, o.order_type,
    o.quantity, o.limit_price, o.stop_price, o.own_valid_until, o.created_at, o.submitted_at,
    o.acknowledged_at, o.done_at
  FROM public.execution_order o
  WHERE o.id = ANY(orders) AND o.leg = 'entry' AND o.filled_quantity = 0
    AND o.done_at < clock_timestamp() - interval '400 days'
    AND NOT EXISTS (SELECT FROM public.execution_fill f WHERE f.order_id = o.id)
    AND NOT EXISTS (SELECT FROM public.positions_executionposition p
      WHERE p.signal_id = o.signal_id AND p.connection_id = o.connection_id)
  ORDER BY o.id;
  GET DIAGNOSTICS kept = ROW_COUNT;
  DELETE FROM public.execution_ordertrigger WHERE order_id = ANY(orders);
  DELETE FROM public.execution_entrychange WHERE order_id = ANY(orders);
  DELETE FROM public.execution_entrydecision WHERE order_id = ANY(orders);
  DELETE FROM public.execution_order WHERE id = ANY(orders);
  GET DIAGNOSTICS removed = ROW_COUNT;
  IF removed <> cardinality(orders) OR kept <> removed THEN
    RAISE EXCEPTION '% of % orders of file % may be removed.', kept, cardinality(orders), file;
  END IF;
  RETURN removed;
END $$;
REVOKE ALL ON FUNCTION public.execution_remove_archived_orders(bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.execution_remove_archived_orders(bigint, bigint[])
  TO fillcast_trade;

-- A second entry for a signal and account is refused, as `one_entry` refuses it while the first one
-- is in the table. A statement asks once whether its signals have archived entries at all.
CREATE FUNCTION public.execution_refuse_archived() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  known record;
BEGIN
  IF EXISTS (SELECT FROM (SELECT DISTINCT signal_id FROM added WHERE leg LIKE 'entry%') n
    WHERE EXISTS (SELECT FROM execution_archivedorder a WHERE a.signal_id = n.signal_id)) THEN
    SELECT a.id, a.signal_id, a.connection_id INTO known
    FROM added o JOIN execution_archivedorder a ON a.signal_id = o.signal_id
      AND (a.connection_id = o.connection_id OR a.routed_from_id = o.routed_from_id
        OR a.connection_id = o.routed_from_id OR a.routed_from_id = o.connection_id)
    WHERE o.leg LIKE 'entry%' LIMIT 1;
    IF FOUND THEN
      RAISE unique_violation USING MESSAGE =
        format('order %s was the entry of signal %s on connection %s; it is in the archive',
          known.id, known.signal_id, known.connection_id);
    END IF;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER execution_order_archived AFTER INSERT ON public.execution_order
REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION public.execution_refuse_archived();
