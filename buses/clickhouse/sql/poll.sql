-- The first condition on `seen` alone is what the table's index `seen` answers.
SELECT toString(greatest(created_at, approved_at)) AS seen, feed, approval, signal_id, symbol,
  signal_type, entry_price, stop_loss, take_profit, position_size, refers_to, strategy_id,
  trade_plan_id
FROM signals
WHERE created_at >= now64(6) - INTERVAL 7 DAY
  AND greatest(created_at, approved_at) >= toDateTime64({since:String}, 6, 'UTC')
  AND (greatest(created_at, approved_at), feed, signal_id)
    > (toDateTime64({since:String}, 6, 'UTC'), {feed:String}, {id:String})
  AND greatest(created_at, approved_at) <= now64(6)
  AND greatest(created_at, approved_at) < toDateTime64({until:String}, 6, 'UTC')
  AND approval = 'APPROVED'
ORDER BY greatest(created_at, approved_at), feed, signal_id
LIMIT {most:UInt64} WITH TIES
