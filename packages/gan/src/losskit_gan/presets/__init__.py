"""Published combinations of losses, as configs: ``preset: stylegan2`` with ``loss_config: {...}``.

Each is a function of the ``loss_config`` keys that returns ``gan_loss``, ``disc_auxiliary_loss`` and
``gen_auxiliary_loss`` for a `GANObjective`, made of plain dicts. A weight
of 0 leaves its term out. Torch-free.
"""
