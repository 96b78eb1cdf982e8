"""Weights of the losses."""

import dataclasses

from dreamer_nnx.agent.settings import LossScales


def test_every_loss_has_the_weight_of_its_name():
  scales = LossScales(rec=2.0, rep=0.5)
  for field in dataclasses.fields(LossScales):
    assert scales.weight(field.name) == getattr(scales, field.name)
  assert scales.weight('rec') == 2 and scales.weight('rep') == 0.5


def test_losses_of_other_components_weigh_one():
  assert LossScales(rec=2.0).weight('contrastive') == 1
