"""``losskit eval``: losses between images, as a table and as heat maps."""
