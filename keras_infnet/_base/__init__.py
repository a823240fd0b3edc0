"""What every room stands on: whole files and folders, "did you mean", field checks."""
