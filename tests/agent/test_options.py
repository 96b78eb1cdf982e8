"""Scalar options of the losses."""

import dataclasses
import re

import pytest

from dreamer_nnx.agent.options import LossScales, SlowValue


def test_every_loss_has_the_weight_of_its_name():
  scales = LossScales(rec=2.0, rep=0.5)
  for field in dataclasses.fields(LossScales):
    assert scales.of(field.name) == getattr(scales, field.name)
  assert scales.of('rec') == 2 and scales.of('rep') == 0.5


def test_losses_of_other_components_weigh_one():
  assert LossScales(rec=2.0).of('contrastive') == 1


@pytest.mark.parametrize('rate', [1.0, 0.49, 1e-6])
def test_rates_that_the_slow_value_can_have(rate):
  assert SlowValue(rate=rate).rate == rate


@pytest.mark.parametrize(
  ('rate', 'every'), [(0.5, 1), (0.98, 1), (0.0, 1), (1.5, 1), (0.02, 0)]
)
def test_rates_that_it_cannot_have_are_refused(rate, every):
  message = (
    f'config.slow_value: rate = {rate} must be 1 or in (0, 0.5), '
    f'every = {every} must be at least 1.'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    SlowValue(rate=rate, every=every)
