"""Helpers of every folder: whole files and folders, "did you mean", checks of fields."""
