"""Measures of ranking: the maths as functions, and Keras metrics on top of them."""
