"""Training: seeds, optimizers, the policy over tasks, and the recipe that joins them."""
