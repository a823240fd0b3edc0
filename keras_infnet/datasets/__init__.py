"""Public logs and a simulator: frames, schema and splits."""
