"""What `accuracy.py` is made of: plan, runs, tables and report."""
