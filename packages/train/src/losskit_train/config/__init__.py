"""The training config: its keys with their meanings, its check, and what it may import.

Imports the core and presets of losskit_gan; no other room.
"""
