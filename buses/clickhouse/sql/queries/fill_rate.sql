-- The share of orders sent in the last seven days, up to the end of a day, that filled at least in
-- part, by installation. Denied and skipped orders never reached a broker, and failed ones provably
-- not.
SELECT source, toDate(created_at) AS day, count() AS sent, countIf(filled_quantity > 0) AS filled,
  round(countIf(filled_quantity > 0) / count(), 4) AS fill_rate
FROM orders FINAL
WHERE toDate(created_at) BETWEEN {day:Date} - 6 AND {day:Date} AND submitted_at IS NOT NULL
  AND status != 'FAILED'
GROUP BY source, day
ORDER BY source, day
