"""What the pages show, read for one tenant; row-level security limits the reads to it as well."""
