"""Commands and objects of other services, by the table `fields.toml`. Pure."""
