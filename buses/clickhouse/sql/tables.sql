-- The tables that Fillcast writes. It runs these statements when it connects, so they must be
-- repeatable. A new column: here, and as ALTER TABLE … ADD COLUMN IF NOT EXISTS at the end.
--
-- Each row is a state; the highest `version` of a key is the newest. Merges remove the others when
-- they happen to run, so read with FINAL. Amounts are in the quote currency or, if named so, in the
-- account's; quantities in base units; times in UTC.

CREATE TABLE IF NOT EXISTS orders (
  source LowCardinality(String),  -- the installation
  order_id UInt64,
  version UInt64,                 -- microseconds of the step that led to this state
  client_order_id Nullable(String),
  broker_order_id Nullable(String),
  signal_id Nullable(UInt64),
  position_id Nullable(UInt64),
  strategy_id Nullable(String),
  trade_plan_id Nullable(String),
  account_id UUID,
  tenant_id Nullable(UInt64),
  broker LowCardinality(String),
  leg LowCardinality(String),
  symbol LowCardinality(String),
  side LowCardinality(String),
  order_type LowCardinality(String),
  time_in_force LowCardinality(String),
  status LowCardinality(String),
  lifecycle LowCardinality(String),
  code LowCardinality(String),
  detail String,
  quantity Nullable(Decimal(38, 18)),
  filled_quantity Decimal(38, 18),
  average_price Nullable(Decimal(38, 18)),
  limit_price Nullable(Decimal(38, 18)),
  stop_price Nullable(Decimal(38, 18)),
  stop_loss Nullable(Decimal(38, 18)),
  take_profit Nullable(Decimal(38, 18)),
  expected_price Nullable(Decimal(38, 18)),
  slippage Nullable(Decimal(38, 18)),
  slippage_unit LowCardinality(Nullable(String)),
  commission Decimal(38, 18),
  created_at DateTime64(6, 'UTC'),
  submitted_at Nullable(DateTime64(6, 'UTC')),
  filled_at Nullable(DateTime64(6, 'UTC')),
  cancelled_at Nullable(DateTime64(6, 'UTC')),
  updated_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(created_at)
ORDER BY (source, order_id);

CREATE TABLE IF NOT EXISTS executions (
  source LowCardinality(String),
  fill_id UInt64,
  version UInt64,
  broker_fill_id String,
  order_id UInt64,
  client_order_id Nullable(String),
  signal_id Nullable(UInt64),
  position_id Nullable(UInt64),
  strategy_id Nullable(String),
  trade_plan_id Nullable(String),
  account_id UUID,
  tenant_id Nullable(UInt64),
  broker LowCardinality(String),
  leg LowCardinality(String),
  symbol LowCardinality(String),
  side LowCardinality(String),
  quantity Decimal(38, 18),
  price Decimal(38, 18),
  expected_price Nullable(Decimal(38, 18)),
  slippage_pips Nullable(Decimal(38, 18)),
  commission Decimal(38, 18),
  commission_currency LowCardinality(String),
  inferred Bool,                  -- a sum without executions of its own; they may follow
  executed_at DateTime64(6, 'UTC'),
  recorded_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (source, fill_id);

CREATE TABLE IF NOT EXISTS positions (
  source LowCardinality(String),
  position_id UInt64,
  version UInt64,                 -- counts the changes of the position
  signal_id UInt64,
  strategy_id Nullable(String),
  trade_plan_id Nullable(String),
  account_id UUID,
  tenant_id Nullable(UInt64),
  broker LowCardinality(String),
  broker_position_id Nullable(String),
  symbol LowCardinality(String),
  side LowCardinality(String),
  quantity Decimal(38, 18),
  opened_quantity Decimal(38, 18),
  entry_price Decimal(38, 18),
  stop_loss Nullable(Decimal(38, 18)),
  take_profit Nullable(Decimal(38, 18)),
  realized_pnl Decimal(38, 18),
  commission Decimal(38, 18),
  swap Decimal(38, 18),
  close_reason LowCardinality(Nullable(String)),
  opened_at DateTime64(6, 'UTC'),
  closed_at Nullable(DateTime64(6, 'UTC'))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(opened_at)
ORDER BY (source, position_id);
