"""Published tables, and what comes out when they are trained again."""
