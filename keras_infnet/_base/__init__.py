"""What every folder may use: whole files, suggestions for misspelt names, checks of arguments."""
