"""Our library against others on equal work, side by side in one run."""
