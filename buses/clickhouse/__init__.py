"""ClickHouse: the state of every order, execution and position, for queries over long periods."""
