"""One GAN step, and `GANWithCustomizedLoss`, which makes it.

Imports the objective and what penalties need to differentiate twice; no presets.
"""
