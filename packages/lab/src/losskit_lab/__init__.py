"""Tools that use losses and objectives: evaluate, balance, optimize, atlas, migrate.

Each room holds one command and what it calls; they import the core, and each other's nothing.
"""

__all__: list[str] = []
