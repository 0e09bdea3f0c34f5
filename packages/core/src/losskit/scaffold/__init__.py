"""Write a plugin package to start from: what ``losskit new`` does."""

from losskit.scaffold.writer import Names, write_plugin

__all__ = ["Names", "write_plugin"]
