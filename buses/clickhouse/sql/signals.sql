-- Signals for Fillcast. Another system inserts, Fillcast polls every second; a row counts once, by
-- its feed and signal_id. Leave created_at to its default: rows that appear more than a minute
-- later than their time are not read.

CREATE TABLE IF NOT EXISTS signals (
  created_at DateTime64(6, 'UTC') DEFAULT now64(6),
  feed String,                    -- of the subject: signals.approved.{feed}
  approval LowCardinality(String) DEFAULT 'PENDING',
  signal_id String,
  symbol String DEFAULT '',
  signal_type LowCardinality(String),
  entry_price Nullable(Decimal(38, 18)),
  stop_loss Nullable(Decimal(38, 18)),
  take_profit Nullable(Decimal(38, 18)),
  position_size Nullable(Decimal(38, 18)),
  refers_to String DEFAULT '',    -- of a CLOSE: the signal_id that it closes
  strategy_id String DEFAULT '',
  trade_plan_id String DEFAULT ''
) ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (created_at, feed, signal_id);
