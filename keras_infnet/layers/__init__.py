"""The layers of INFNet, in `keras.ops` alone."""
