"""The encoder: raw columns to packed ids, learned from training rows."""
