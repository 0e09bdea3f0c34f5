"""Installed plugins and what each supplies: entry points, guarded loading, the registry.

Imports specs, hooks and errors; never torch, and nothing of a plugin but its entry module.
"""
