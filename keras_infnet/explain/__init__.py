"""What a model reads, and what it loses without it."""
