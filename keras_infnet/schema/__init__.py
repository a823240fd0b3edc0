"""Schema: columns, histories and tasks of a ranking problem, and what was learned of them."""
