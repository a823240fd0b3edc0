"""What is declared of a ranking problem: columns, histories, tasks and the schema they make."""
