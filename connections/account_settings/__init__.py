"""The settings of connections: form fields by broker type, validation, and allowed hosts."""
