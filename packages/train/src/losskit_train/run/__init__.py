"""A training run: the loop, its networks and optimisers, its checkpoints, what stops it.

Imports ``config``, ``data``, ``networks`` and ``output``.
"""
