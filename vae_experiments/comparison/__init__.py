"""Several runs side by side: their table, their plots, their pictures."""
