"""Checks annotations at run time as type checkers read them: an ``int`` is a ``float``, too."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
