-- Slippage of the last 30 days, up to the end of a day, by installation and symbol: above 0 is worse
-- than expected.
SELECT source, symbol, slippage_unit AS unit, count() AS orders,
  round(avg(toFloat64(slippage)), 4) AS average, round(stddevPop(toFloat64(slippage)), 4) AS deviation,
  max(abs(slippage)) AS largest
FROM orders FINAL
WHERE toDate(created_at) BETWEEN {day:Date} - 29 AND {day:Date} AND slippage IS NOT NULL
GROUP BY source, symbol, unit
ORDER BY source, symbol, unit
