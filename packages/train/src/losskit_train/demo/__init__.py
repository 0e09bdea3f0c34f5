"""``losskit demo``: a super-resolver trained on real photographs in a few minutes."""
