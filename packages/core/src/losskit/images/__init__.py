"""Image files as tensors, for commands and for training: pairs of files, reading, bit depths.

Imports torch, Pillow and NumPy when they are used; nothing of losses.
"""
