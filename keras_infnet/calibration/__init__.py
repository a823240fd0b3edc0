"""Calibration of probabilities: learned from validation rows, applied in numpy and as a graph."""
