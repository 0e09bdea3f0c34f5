"""The core's own losses on pixels, one family per file."""
