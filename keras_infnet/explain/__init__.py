"""Which task reads which field and which position of the history."""
