"""The tenants' web pages: server-rendered, for people who look at their own money."""
