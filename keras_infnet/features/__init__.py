"""The description of the inputs, and the encoder that turns raw columns into ids."""
