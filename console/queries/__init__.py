"""Set-based reads behind the console's pages."""
