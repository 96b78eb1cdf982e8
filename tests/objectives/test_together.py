"""Objectives in an agent: what learns from them, and life without them."""

import re

import jax
import numpy as np
import pytest

from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.slots import DECODER, OBJECTIVE, OPTIMIZER
from dreamer_nnx.testing import agents, toys
from dreamer_nnx.testing.live import compiled
from dreamer_nnx.training.pure import Pure
from tests.launcher import ROOT

OBS = toys.VECTORS | {'label/demonstration': toys.box()}
ACTIONS = toys.ACTIONS['both']
SMALL = {
  'barlow': {},
  'cloning': {},
  'disagreement': {'members': 2},
  'dreamerpro': {'prototypes': 6, 'size': 4, 'rate': 0.25},
  'infonce': {'size': 4},
  'rnd': {'size': 4},
}
RATE = SMALL['dreamerpro']['rate']
NONE = Choices(OBJECTIVE)
LOSSES = {
  'barlow': ('barlow',),
  'cloning': ('cloning',),
  'disagreement': ('disagreement',),
  'dreamerpro': ('swav', 'temporal'),
  'infonce': ('infonce',),
  'rnd': ('rnd',),
}


def objectives(**fields):
  return Choices(
    OBJECTIVE,
    [Choice(OBJECTIVE, k, **small, **fields) for k, small in SMALL.items()],
  )


def make_pure(choices):
  def make(rngs):
    return agents.make_agent(
      OBS,
      ACTIONS,
      rngs=rngs,
      objectives=choices,
      decoder=Choice(DECODER, 'none'),
    )

  optimizer = Choice(OPTIMIZER, 'dreamer', lr=1e-2, warmup=0)()
  return Pure(make, optimizer, batch_length=agents.LENGTH)


def initial(*pures):
  """First states; in one program, what they share is computed once."""
  keys = jax.random.key(0), jax.random.key(1)
  init = lambda *keys: [pure.init(*keys) for pure in pures]
  states = compiled(init)(*keys)
  return [jax.device_get(state) | {'key': keys[1]} for state in states]


@pytest.fixture(scope='module')
def pures():
  """With the objectives, with those of scale 0, and with none."""
  off = {'scale': 0.0}
  return [make_pure(x) for x in (objectives(), objectives(**off), NONE)]


@pytest.fixture(scope='module')
def states(pures):
  return initial(*pures)


def test_without_a_scale_all_else_is_as_without_them(pures, states):
  on, off, none = states
  assert off.keys() == none.keys() < on.keys()
  # What else there is does not change what a part begins with.
  for name, x in none.items():
    for other in (on, off):
      assert name == 'key' or np.array_equal(other[name], x), name
  # And updates are the same program.
  assert updates_of(pures[1]) == updates_of(pures[2])


def updates_of(pure):
  """The text of an update; functions in it are shown with their addresses."""
  state = jax.eval_shape(pure.init, jax.random.key(0), jax.random.key(1))
  carry = jax.eval_shape(lambda: pure.initial(agents.ROWS))
  batch = agents.batch_of(pure.layout.partial({}))
  program = str(jax.make_jaxpr(pure.update)(state, carry, batch))
  return re.sub(r'0x[0-9a-f]+', '', program)


@pytest.fixture(scope='module')
def updated(pures, states):
  """The state after an update of all that learn, and its metrics."""
  (pure, *_), (state, *_) = pures, states
  batch = agents.batch_of(pure.layout.partial({}))
  carry = pure.initial(agents.ROWS)
  new, _, _, metrics = compiled(pure.update)(state, carry, batch)
  return jax.device_get((state, new, metrics))


def test_all_of_them_learn_together(updated):
  before, after, metrics = updated
  for name, losses in LOSSES.items():
    own = [k for k in before if k.startswith(f'objectives/{name}/')]
    changed = [k for k in own if np.any(before[k] != after[k])]
    # Cloning has no parameters: it trains the policy.
    assert changed or name == 'cloning'
    assert all(np.isfinite(metrics[f'loss/{x}']) for x in losses)
  values = [np.isfinite(x).all() for k, x in after.items() if k != 'key']
  assert all(values)


def test_what_is_fixed_stays_and_slow_copies_follow(updated):
  before, after, _ = updated
  fixed = [k for k in before if k.startswith('objectives/rnd/target/')]
  assert fixed and all(np.array_equal(before[k], after[k]) for k in fixed)
  slow = 'objectives/dreamerpro/slow_encoder/module/'
  copies = [k for k in before if k.startswith(slow)]
  sources = [k.replace(slow, 'encoder/') for k in copies]
  assert sorted(sources) == sorted(
    k for k in before if k.startswith('encoder/')
  )
  for copy, source in zip(copies, sources, strict=True):
    np.testing.assert_array_equal(before[copy], before[source])
    moved = (1 - RATE) * before[source] + RATE * after[source]
    np.testing.assert_allclose(after[copy], moved, atol=1e-6)
  assert any(np.any(before[k] != after[k]) for k in copies)


def test_metrics_are_in_the_documentation(updated):
  *_, metrics = updated
  text = (ROOT / 'docs' / 'metrics.md').read_text('utf-8')
  found = {k for k in metrics if k.split('/')[0] in SMALL}
  described = set(re.findall(r'^- `([a-z]+/[a-z]+)`:', text, re.MULTILINE))
  assert found == {k for k in described if k.split('/')[0] in SMALL}
