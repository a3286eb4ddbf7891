"""Proofs about look-ups: every path of the very bytes, with MPIDR, table and open state as symbols.

Needs z3 (``pip install 'arm64-boot-emu[prove]'``). z3 only proposes: :mod:`emu.fuzz.proof` has the emulator
judge each counterexample.
"""
