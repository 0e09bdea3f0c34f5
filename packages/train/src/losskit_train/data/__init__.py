"""Images and what becomes of them: where they come from, samples by number, masks.

Imports ``config``.
"""
