"""What may come next on a `vae` command line, told to the shell in a moment: nothing heavy is imported here."""
