"""The console's pages: views with their forms and addresses."""
