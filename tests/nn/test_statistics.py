"""What a normaliser has to keep so that it learns."""

import re
from collections import deque

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.statistics import normalizer
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import NORMALIZER


class Statistic(nnx.Variable):
  """Not trained by gradients."""


class Running(nnx.Module):
  """Keeps a running mean as `start` makes it."""

  start = staticmethod(lambda: Statistic(jnp.zeros(())))

  def __init__(self):
    self.mean = self.start()

  def update(self, x):
    self.mean[...] = 0.9 * self.mean[...] + 0.1 * x.mean()

  def stats(self):
    return self.mean[...], 1.0


class Trained(Running):
  start = staticmethod(lambda: nnx.Param(jnp.zeros(())))


class Number(Running):
  start = staticmethod(lambda: Statistic(0.0))


class Array(Running):
  start = staticmethod(lambda: jnp.zeros(()))

  def update(self, x):
    self.mean = 0.9 * self.mean + 0.1 * x.mean()


class Counting(Running):
  """Keeps the mean, and not how many there were."""

  def __init__(self):
    super().__init__()
    self.count = 0

  def update(self, x):
    super().update(x)
    self.count += x.size


class Plain:
  """No module: no Variable of it is found."""

  def __init__(self):
    self.inner = {'mean': Statistic(jnp.zeros(()))}

  def update(self, x):
    self.inner['mean'][...] = x.mean()

  def stats(self):
    return self.inner['mean'][...], 1.0


class Recent:
  def __init__(self):
    self.last = deque()

  def update(self, x):
    self.last.append(x.mean())

  def stats(self):
    return sum(self.last), 1.0


class Tally:
  def __init__(self):
    self.calls = np.zeros(2, np.int32)

  def update(self, x):
    self.calls[1] += 1

  def stats(self):
    return 0.0, 1.0


class Scaled:
  """Without a state; it remembers what it always finds."""

  def __init__(self):
    self.factor = 2.0
    self.table = {}

  def update(self, x):
    self.table['size'] = x.size

  def stats(self):
    return 0.0, self.factor


def built(cls):
  choice = Choice(NORMALIZER, f'{__name__}:{cls.__name__}')
  return normalizer(choice.at('config.retnorm'))


@pytest.mark.parametrize('cls', [Running, Scaled])
def test_what_is_kept_or_never_changes_is_accepted(cls):
  norm = built(cls)
  assert isinstance(norm, cls)
  # It was looked at on another one.
  assert norm.stats() == ((0, 1) if cls is Running else (0, 2))


@pytest.mark.parametrize('name', NORMALIZER.names())
def test_the_normalisers_of_the_toolkit_are_accepted(name):
  assert normalizer(Choice(NORMALIZER, name)).stats()[1] > 0


@pytest.mark.parametrize(
  ('cls', 'what'),
  [
    (Trained, 'changes the Param `mean`, which gradients train'),
    (Array, 'changes `mean`, which is no part of the state'),
    (Counting, 'changes `count`, which is no part of the state'),
    (Plain, 'changes `inner.mean`, which is no part of the state'),
    (Recent, 'changes `last.1`, which is no part of the state'),
    (Tally, 'changes `calls`, which is no part of the state'),
  ],
)
def test_what_would_not_learn_is_refused_with_a_remedy(cls, what):
  attribute = re.search('`([a-z]+)', what)[1]
  message = (
    f'config.retnorm.{cls.__name__}: `update` {what}, so it would never learn. '
    'Hold it in a Variable of a class of its own, `class '
    f'Statistic(nnx.Variable): ...` and `self.{attribute} = '
    'Statistic(jnp.zeros(()))`, in an nnx.Module.'
  )
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    built(cls)


def test_a_variable_begins_with_an_array():
  message = 'the Variable `mean` has to begin with an array, not 0.0.'
  with pytest.raises(UserError, match=re.escape(message)):
    built(Number)
