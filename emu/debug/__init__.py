"""Stepping a machine, forwards and backwards."""
