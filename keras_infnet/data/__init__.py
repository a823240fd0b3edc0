"""Frames and encoders to `tf.data`: histories, batches and predictions."""
