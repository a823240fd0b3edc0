"""Encoder and model to one SavedModel, and its check."""
