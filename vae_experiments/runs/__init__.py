"""One run: its config, folder, signature, and its way from start to end."""
