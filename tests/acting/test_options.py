"""Scalar settings of the losses of model and behaviour."""

import re

import pytest

from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Part


def test_the_discount_has_the_horizon():
  assert AgentOptions(horizon=10).discount == pytest.approx(0.9)


def test_a_discount_of_zero_needs_contdisc():
  assert AgentOptions(horizon=1).contdisc
  message = 'config.AgentOptions.horizon = 1: makes the discount 0, by which'
  with pytest.raises(UserError, match=re.escape(message)):
    Part(AgentOptions, horizon=1, contdisc=False)()
