"""Scalar settings of the losses."""

import dataclasses
import re

import pytest

from dreamer_nnx.agent.settings import AgentOptions, LossScales, SlowValue
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Part


def test_every_loss_has_the_weight_of_its_name():
  scales = LossScales(rec=2.0, rep=0.5)
  for field in dataclasses.fields(LossScales):
    assert scales.weight(field.name) == getattr(scales, field.name)
  assert scales.weight('rec') == 2 and scales.weight('rep') == 0.5


def test_losses_of_other_components_weigh_one():
  assert LossScales(rec=2.0).weight('contrastive') == 1


@pytest.mark.parametrize('rate', [1.0, 0.49, 1e-6])
def test_rates_that_the_slow_value_can_have(rate):
  assert SlowValue(rate=rate).rate == rate


@pytest.mark.parametrize(
  ('field', 'value', 'limits'),
  [
    ('rate', 0.5, 'must be 1, or below 0.5.'),
    ('rate', 0.98, 'must be 1, or below 0.5.'),
    ('rate', 0.0, 'must be above 0 and at most 1.'),
    ('rate', 1.5, 'must be above 0 and at most 1.'),
    ('every', 0, 'must be at least 1 and at most 2147483647.'),
  ],
)
def test_rates_that_it_cannot_have_are_refused(field, value, limits):
  message = f'config.SlowValue.{field} = {value}: {limits}'
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    Part(SlowValue, **{field: value})()


def test_a_discount_of_zero_needs_contdisc():
  assert AgentOptions(horizon=1).contdisc
  message = 'config.AgentOptions.horizon = 1: makes the discount 0, by which'
  with pytest.raises(UserError, match=re.escape(message)):
    Part(AgentOptions, horizon=1, contdisc=False)()
