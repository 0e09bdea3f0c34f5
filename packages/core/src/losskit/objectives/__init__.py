"""From losses to one total: terms, schedules, adaptive weights, objectives, and their configs.

Imports losses, backbones and discovery; no command and no plugin.
"""
