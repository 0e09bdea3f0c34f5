"""``losskit balance``: which term of an objective dominates, as a table and a drawing."""
