-- The newest 20 orders of one day, of each installation.
SELECT source, created_at, order_id, account_id, symbol, side, order_type, status, quantity,
  filled_quantity, average_price
FROM orders FINAL
WHERE toDate(created_at) = {day:Date}
ORDER BY source, created_at DESC, order_id DESC
LIMIT 20 BY source
