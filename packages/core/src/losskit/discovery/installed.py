"""Every installed plugin, loaded if it may be: the one call that the registry makes."""

from __future__ import annotations

from dataclasses import replace

from losskit.discovery.entry_points import Controls, conflicts, entry_points
from losskit.discovery.loading import Loaded, PluginRecord, load


def discover(controls: Controls | None = None) -> list[Loaded]:
    """Load every plugin that is installed and allowed, each inside its own guard."""
    controls = controls or Controls.from_environment()
    found = entry_points()
    blocked = {entry: controls.blocks(entry.name, entry.distribution) for entry in found}
    # A plugin that is shut out claims no name: that is how a user settles a conflict.
    clashes = conflicts([entry for entry in found if not blocked[entry]])
    loaded = []
    for entry in found:
        record = PluginRecord(entry.name, entry.distribution, entry.version, module=entry.module)
        reason = blocked[entry]
        if reason:
            loaded.append(Loaded(replace(record, status="disabled", hint=reason)))
        elif entry in clashes:
            error, hint = clashes[entry]
            loaded.append(Loaded(replace(record, status="conflict", error=error, hint=hint)))
        else:
            loaded.append(load(record))
    return loaded
