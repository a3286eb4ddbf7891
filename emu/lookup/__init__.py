"""Lookups under test: what a piece of code promises, and whether it keeps to it for every table and MPIDR."""
