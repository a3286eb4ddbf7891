"""Benchmarks: ``python -m bench`` measures emu on this machine and compares with the goals; it gates nothing.

Every sample is a fresh process. A benchmark is a function here that yields :class:`bench.result.Result`;
``bench/__main__.py`` lists them.
"""
