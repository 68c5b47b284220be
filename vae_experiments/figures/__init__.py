"""What is drawn: pure functions from arrays to figures, and the gallery that draws a run's pictures."""
