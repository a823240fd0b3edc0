"""Backends: code for TensorFlow or JAX alone, each piece behind one function."""
