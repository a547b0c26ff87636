"""Random calls of the graph ops: drawn, made in a process of their own, and held to the contract.

`draw` says what calls there are, `make` makes one, `expected` what its result is, `worker` is the
process. `test_random_calls.py` starts it.
"""
