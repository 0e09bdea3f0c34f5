"""A trained generator in use: its images, and itself as a file for elsewhere.

Imports ``run`` and what that imports.
"""
