"""Models built from a schema."""
