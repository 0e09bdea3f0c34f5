"""Penalties on the slope of a network, and what double differentiation needs.

Imports the core, ``predictions`` and ``distributed``; no adversarial loss, no model.
"""
