"""Adversarial losses: the formulas once, and the modules that call them.

Imports the core and ``predictions``; no penalty, no model.
"""
