"""HarmonyDream: which losses have which σ, and where it goes."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.agent.build import build
from dreamer_nnx.agent.checks import check_agent
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices, fields
from dreamer_nnx.slots import DECODER, OBJECTIVE, OPTIMIZER, WEIGHTING
from dreamer_nnx.testing import agents, toys
from dreamer_nnx.testing.live import compiled
from dreamer_nnx.weightings.harmony import Harmony

PATHS = {name: f'config.{name}' for name in fields(build)}
SPACE = {'image': None, 'vector': None}
LOSSES = ('image', 'vector', 'rew', 'con', 'dyn', 'rep', 'more')


def make(terms, **sigmas):
  harmony = Harmony(SPACE, terms=terms)
  for term, sigma in sigmas.items():
    harmony.logs[term][...] = jnp.log(sigma)
  return harmony


def weigh(harmony, **scales):
  """Scaled losses, each of which is 6."""
  scales = dict.fromkeys(LOSSES, 1.0) | scales
  losses = {name: jnp.full((2, 3), 6.0) for name in scales}
  found = harmony(losses, scales)
  assert found.keys() == scales.keys()
  return {name: float(x.mean()) for name, x in found.items()}


@pytest.mark.parametrize(
  ('loss', 'scale'), [(0.05, 1.0), (2.0, 0.5), (300.0, 1.0)]
)
def test_sigma_of_a_constant_loss_converges(loss, scale):
  optimizer = Choice(
    OPTIMIZER, 'dreamer', lr=1e-2, warmup=0, anneal=3000, schedule='linear'
  )()
  losses = {'a': jnp.full((2, 3), 0.4 * loss), 'b': jnp.full((), 0.6 * loss)}

  def total(params):
    harmony = Harmony({}, terms=('a+b',))
    nnx.update(harmony, {'logs': {'a+b': params['s']}})
    scaled = harmony(losses, {'a': scale, 'b': scale})
    return sum(x.mean() for x in scaled.values())

  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.grad(total)(params), state, params)
    return (jax.tree.map(jnp.add, params, updates), state), None

  params = {'s': jnp.zeros(())}
  start = params, optimizer.init(params)
  run = compiled(lambda start: jax.lax.scan(step, start, length=3000)[0][0])
  effective = scale * loss
  expected = (effective + np.sqrt(effective**2 + 4 * effective)) / 2
  np.testing.assert_allclose(np.exp(run(start)['s']), expected, rtol=1e-2)


def test_reconstructions_share_one_sigma_by_default():
  harmony = Harmony(SPACE)
  assert harmony.terms == ('rec', 'rew', 'dyn+rep')
  for term, sigma in zip(harmony.terms, (2.0, 3.0, 4.0), strict=True):
    harmony.logs[term][...] = jnp.log(sigma)
  found = weigh(harmony, rep=0.5)
  # Of each term, one loss has log(1 + σ).
  expected = {
    'image': 6 / 2 + np.log(3),
    'vector': 6 / 2,
    'rew': 6 / 3 + np.log(4),
    'con': 6,
    'dyn': 6 / 4 + np.log(5),
    'rep': 0.5 * 6 / 4,
    'more': 6,
  }
  assert found == pytest.approx(expected, rel=1e-5)


def test_an_observation_that_is_named_leaves_the_others():
  found = weigh(make(('image', 'rec', 'more'), image=2.0, rec=3.0, more=4.0))
  expected = {'image': 2, 'vector': 3, 'more': 4}
  for name, sigma in expected.items():
    assert found[name] == pytest.approx(6 / sigma + np.log1p(sigma), rel=1e-5)
  assert found['rew'] == found['dyn'] == 6


def test_what_has_no_scale_has_no_sigma():
  harmony = make(('rec', 'dyn+rep'), rec=2.0, **{'dyn+rep': 3.0})
  found = weigh(harmony, image=0.0, vector=0.0, dyn=0.0)
  assert found['image'] == found['vector'] == found['dyn'] == 0
  assert found['rep'] == pytest.approx(6 / 3 + np.log(4), rel=1e-5)
  scales = dict.fromkeys(LOSSES, 1.0) | {'image': 0.0, 'vector': 0.0}
  metrics = harmony.metrics(scales)
  assert metrics.keys() == {'sigma/dyn+rep'}
  np.testing.assert_allclose(metrics['sigma/dyn+rep'], 3.0, rtol=1e-6)


def test_a_name_that_comes_twice_is_refused():
  choice = Choice(WEIGHTING, 'harmony', terms=('rew', 'rew+con'))
  with pytest.raises(UserError, match=r"harmony\.terms = .*'rew' is there twi"):
    choice(obs_space=SPACE)


def check(obs_space, terms, objectives=(), **parts):
  """Builds an agent without values, as a run does, and checks it."""
  choices = [Choice(OBJECTIVE, name, size=4) for name in objectives]
  parts |= {'objectives': Choices(OBJECTIVE, choices)}
  fields = {'terms': terms} if terms else {}
  weighting = Choice(WEIGHTING, 'harmony', **fields)
  paths = PATHS | {'weighting': weighting.path}

  def trace():
    agent = agents.make_agent(
      obs_space, toys.ACTIONS['discrete'], weighting=weighting, **parts
    )
    check_agent(agent, paths, toys.FLOAT32.compute_dtype)

  jax.eval_shape(trace)


@pytest.mark.parametrize(
  ('terms', 'meant'),
  [
    (('imgae', 'rew'), 'image'),
    (('rec+infonec',), 'infonce'),
    (('position', 'dyn+reps'), 'rep'),
  ],
)
def test_a_misspelt_loss_is_told_when_the_agent_is_built(terms, meant):
  wrong = {'image': 'imgae', 'infonce': 'infonec', 'rep': 'reps'}[meant]
  space = toys.observations()['both']
  text = f'there is no loss {wrong!r}. Did you mean {meant!r}? Losses: con, dyn'
  place = f'config.weighting.harmony.terms = {terms!r}: '
  with pytest.raises(UserError, match=re.escape(place + text)):
    check(space, terms, ('infonce',))


def test_losses_of_every_part_are_known():
  check(toys.VECTORS, ('kind+position', 'con', 'infonce'), ('infonce',))
  # The default is right with images, with vectors, and without a decoder.
  check(toys.observations()['images'], ())
  check(toys.VECTORS, (), decoder=Choice(DECODER, 'none'))


def test_an_agent_logs_sigmas_that_are_in_use():
  def metrics(**parts):
    weighting = Choice(WEIGHTING, 'harmony')
    actions = toys.ACTIONS['discrete']
    agent = agents.make_agent(
      toys.VECTORS, actions, weighting=weighting, **parts
    )
    return agents.loss_of(agent, agents.batch_of(agent))[1]['metrics']

  found = jax.eval_shape(metrics)
  sigmas = {name for name in found if name.startswith('sigma/')}
  assert sigmas == {'sigma/rec', 'sigma/rew', 'sigma/dyn+rep'}
  none = functools.partial(metrics, decoder=Choice(DECODER, 'none'))
  assert 'sigma/rec' not in jax.eval_shape(none)
