"""One GAN step, and `GANWithCustomizedLoss`, which makes it.

Imports the losses and penalties of this package.
"""
