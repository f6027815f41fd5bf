"""Pictures and videos; one file per kind."""
