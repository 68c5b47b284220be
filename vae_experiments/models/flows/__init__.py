"""Invertible networks whose log-determinants are known: what priors and posteriors are bent with."""
