"""Rates and freezing by patterns of names, in every optimiser of the chain."""

import re

import jax
import numpy as np
import optax
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import config as configs
from dreamer_nnx import workflow
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER
from dreamer_nnx.training.checkpoint_fit import check_savable
from dreamer_nnx.training.pure import Pure
from tests.agent.parts import make_agent, make_batch
from tests.training import small

RNG = np.random.default_rng(0)
SHAPES = {
  'encoder/kernel': (3, 2),
  'encoder/bias': (2,),
  'behavior/value/kernel': (2, 4),
  'behavior/policy/kernel': (2, 3),
}
PARAMS = {k: RNG.normal(size=s).astype(np.float32) for k, s in SHAPES.items()}
NAMES = ('adamw', 'dreamer', 'lion', 'muon')
WARMUP = dict(lr=1e-2, warmup=4, schedule='linear', anneal=8, wd=0.1)


def build(name, **kw):
  return Choice(OPTIMIZER, name, **kw)()


def run(optimizer, count=3):
  """The changes of each update, and the last state."""
  rng, params, state = np.random.default_rng(1), PARAMS, optimizer.init(PARAMS)
  update, changes = jax.jit(optimizer.update), []
  for _ in range(count):
    grads = {k: rng.normal(size=v.shape) for k, v in PARAMS.items()}
    change, state = update(grads, state, params)
    params = optax.apply_updates(params, change)
    changes.append(change)
  return changes, state, params


def named(state):
  leaves, _ = jax.tree_util.tree_flatten_with_path(state)
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator='/')
  return {name(path): x for path, x in leaves}


@pytest.mark.parametrize('name', NAMES)
def test_rates_and_freezing_by_patterns(name):
  options = dict(rates=('^behavior/=3e-2', 'policy=0.03'), freeze=('value',))
  # Compiled whole, two programs would round the same numbers differently.
  with jax.disable_jit():
    plain, before, _ = run(build(name, **WARMUP))
    groups, after, params = run(build(name, **WARMUP, **options))
  # The first update is of the same parameters, but of the rate 0.
  for key, change in plain[1].items():
    factor = 3.0 if key == 'behavior/policy/kernel' else 1.0
    if key != 'behavior/value/kernel':
      found = groups[1][key]
      np.testing.assert_allclose(found, factor * change, rtol=1e-5)
      assert np.abs(found).min() > 0
  frozen = 'behavior/value/kernel'
  np.testing.assert_array_equal(params[frozen], PARAMS[frozen])
  # Patterns can be added to a run, and taken away.
  shapes = lambda state: {k: x.shape for k, x in named(state).items()}
  assert shapes(before) == shapes(after)
  check_savable(named(after))


@pytest.mark.parametrize('name', ['adamw', 'dreamer'])
def test_without_patterns_the_state_has_the_names_of_version_0_1(name):
  state = named(jax.eval_shape(build(name).init, PARAMS))
  moments = {'adamw': ('1/mu', '1/nu'), 'dreamer': ('1/nu', '2/mu')}[name]
  counts = {'adamw': ('1', '3'), 'dreamer': ('1', '2', '4')}[name]
  expected = {f'{moment}/{key}' for moment in moments for key in PARAMS}
  assert state.keys() == expected | {f'{i}/count' for i in counts}


def test_without_patterns_the_program_is_that_of_version_0_1():
  # Traced programs of one text compute the same numbers, bit for bit.
  def trace(optimizer):
    state = jax.eval_shape(optimizer.init, PARAMS)
    return str(jax.make_jaxpr(optimizer.update)(PARAMS, state, PARAMS))

  ours = build('adamw', agc=0.0, warmup=0, lr=0.5, wd=0.1)
  decay = optax.add_decayed_weights(
    0.1, lambda params: {k: k.endswith('kernel') for k in params}
  )
  adam, rate = optax.scale_by_adam(), optax.constant_schedule(0.5)
  then = optax.chain(
    optax.identity(), adam, decay, optax.scale_by_learning_rate(rate)
  )
  assert trace(ours) == trace(then)
  assert trace(build('adamw', agc=0.0, warmup=0, lr=0.5)) != trace(then)


def test_a_frozen_parameter_survives_gradients_that_are_not_finite():
  optimizer = build('dreamer', freeze=('bias',), warmup=0)
  grads = {k: np.full(s, np.nan, np.float32) for k, s in SHAPES.items()}
  change, _ = optimizer.update(grads, optimizer.init(PARAMS), PARAMS)
  np.testing.assert_array_equal(change['encoder/bias'], np.zeros(2))
  assert np.isnan(change['encoder/kernel']).all()


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    (
      dict(rates=('behaviour/=1e-5',)),
      "rates = 'behaviour/=1e-5': is found in the name of no parameter. Did "
      "you mean 'behavior/'? Names begin with behavior/, behavior/policy/, "
      'behavior/value/, encoder/.',
    ),
    (
      dict(freeze=('encoder/', 'decoder/')),
      "freeze = 'decoder/': is found in the name of no parameter. Did you "
      "mean 'encoder/'?",
    ),
    (
      dict(rates=('behavior/=1e-5', 'value/=2e-5')),
      "rates = 'value/=2e-5': behavior/value/kernel has another rate by "
      "'behavior/=1e-5'.",
    ),
    (dict(freeze=('(',)), "freeze = '(': is no regular expression"),
    (dict(freeze=('',)), "freeze = '': must have a regular expression"),
    (dict(freeze=(3,)), 'freeze = 3: must have a regular expression'),
    (dict(rates=('[=1',)), "rates = '[=1': is no regular expression"),
    (dict(rates=('=1',)), "rates = '=1': must have a regular expression"),
    (dict(rates=('encoder/',)), "'encoder/': must be 'PATTERN=RATE'"),
    (dict(rates=('a=b',)), "rates = 'a=b': 'b' after the = is no number."),
    (dict(rates=('a=0',)), 'above 0 and finite. Use `freeze`'),
    (dict(rates=('a=inf',)), 'above 0 and finite.'),
    (dict(rates=('a=nan',)), 'above 0 and finite.'),
    (dict(rates=('.=1',), lr=0.0), 'lr = 0.0: must be above 0 beside `rates`'),
  ],
)
def test_mistakes_are_refused(options, message):
  with pytest.raises(UserError, match=re.escape(message)):
    build('adamw', **options).check_names(SHAPES)


def test_a_pattern_may_have_an_equals_sign_and_rates_may_agree():
  options = dict(rates=('a|=1=0.5', 'encoder=0.5'), lr=0.25, warmup=0)
  optimizer = build('adamw', **options)
  with pytest.raises(UserError, match='is found in the name of no parameter'):
    optimizer.check_names(['b/kernel'])
  optimizer.check_names(['a/kernel', 'encoder/kernel'])


def test_an_agent_is_refused_with_the_path_and_a_suggestion():
  config = configs.base('1m')
  configs.apply(
    config, {'**.layers': 1, 'optimizer.dreamer.freeze': ('koder',)}
  )
  obs = {'x': gs.Box(-1, 1, (3,), np.float32)}
  message = "config.optimizer.dreamer.freeze = 'koder': is found in the name of"
  with pytest.raises(UserError, match=re.escape(message)):
    workflow.make_learner(config, obs, {'action': gs.Discrete(2)})


@pytest.mark.parametrize('scaled', [False, True])
def test_frozen_parameters_of_an_agent_stay_bit_for_bit(scaled):
  # Scaled as in float16, where the first updates may be left out.
  optimizer = build('dreamer', freeze=('^encoder/',), warmup=0, wd=0.1, lr=0.1)
  pure = Pure(make_agent, optimizer, batch_length=3, loss_scaling=scaled)
  state = first = pure.init(*small.keys(0))
  carry, update = pure.initial(2), jax.jit(pure.update)
  for i in range(3):
    entry = np.ones((2, 4, 2), np.float32)
    batch = make_batch(2, 4, i) | {'latent/deter': entry}
    state, carry, *_ = update(state, carry, batch)
  for name in pure.layout.trained:
    same = (
      np.asarray(state[name]).tobytes() == np.asarray(first[name]).tobytes()
    )
    assert same == name.startswith('encoder/'), name
