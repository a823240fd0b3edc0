"""The one place with code for one backend, each piece behind one function."""
