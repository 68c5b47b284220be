"""From a command line to typed, checked objects."""
