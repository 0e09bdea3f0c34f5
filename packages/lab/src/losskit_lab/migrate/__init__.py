"""``losskit migrate``: configs of MMagic, BasicSR and traiNNer-redux, read and never executed."""
