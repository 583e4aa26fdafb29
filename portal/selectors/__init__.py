"""What the pages show, read for one tenant; row-level security says the same a floor below."""
