"""What a run shows and writes: rows of metrics, a progress bar, grids of samples, curves.

Imports ``config`` and ``data``.
"""
