"""Output of a run: rows of metrics, a progress bar, grids of samples, curves.

Imports ``config`` and ``data``.
"""
