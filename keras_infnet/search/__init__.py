"""The search space of hyperparameters."""
