-- Signals for Fillcast. Another system inserts, Fillcast polls every second; a row counts once, by
-- its feed and signal_id. Who approves a row that is there sets approved_at = now64(6) with it: an
-- entry counts from then. A row that appears later than its times is found within a minute or two,
-- and its entry may then be too old. What was created more than a week ago is not read. To correct a
-- row that was refused, insert another one with its feed and signal_id. The index `seen` lets a poll
-- read what is new, and not a week of rows; a table that is there does not get it automatically.

CREATE TABLE IF NOT EXISTS signals (
  created_at DateTime64(6, 'UTC') DEFAULT now64(6),
  feed String,                    -- of the subject: signals.approved.{feed}
  approval LowCardinality(String) DEFAULT 'PENDING',
  approved_at DateTime64(6, 'UTC') DEFAULT created_at,
  signal_id String,
  symbol String DEFAULT '',
  signal_type LowCardinality(String),
  entry_price Nullable(Decimal(38, 18)),
  stop_loss Nullable(Decimal(38, 18)),
  take_profit Nullable(Decimal(38, 18)),
  position_size Nullable(Decimal(38, 18)),
  refers_to String DEFAULT '',    -- of a CLOSE: the signal_id that it closes
  strategy_id String DEFAULT '',
  trade_plan_id String DEFAULT '',
  INDEX seen greatest(created_at, approved_at) TYPE minmax GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (created_at, feed, signal_id);

ALTER TABLE signals ADD COLUMN IF NOT EXISTS
  approved_at DateTime64(6, 'UTC') DEFAULT created_at AFTER approval;
