"""Bring-ups side by side: the same CPUs brought up in several ways, in simulated time."""
