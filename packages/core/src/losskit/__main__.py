"""``python -m losskit``: the command line, where the script is not on the path."""

import sys

from losskit.cli import main

sys.exit(main())
