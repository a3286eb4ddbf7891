"""Lookups under test: the contract of the code, and whether it holds for every table and MPIDR."""
