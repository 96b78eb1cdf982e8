"""Environments of dm_env: specs as spaces, steps, and rules that are broken."""

import importlib.metadata
import sys
import types

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import envs, streams
from dreamer_nnx.envs import EnvError, single
from dreamer_nnx.envs.dm_env_adapter import FromDmEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

dm_env = pytest.importorskip('dm_env', reason='the extra dm-env')
specs = pytest.importorskip('dm_env.specs')
FIRST, MID, LAST = dm_env.StepType
WHERE = 'config.env.test'
MAKE = 'tests.smoke.counting:make'


class Scripted(dm_env.Environment):
  """Plays given steps: (type, reward, discount), or what step returns."""

  def __init__(self, script=(), seen=None, observed=None, acted=None):
    self.script = list(script)
    self.seen = [1.0, 2.0] if seen is None else seen
    self.observed = observed or specs.Array((2,), float)
    self.acted = acted or specs.DiscreteArray(3)
    self.actions = []
    self.first = (FIRST, None, None)

  def observation_spec(self):
    return self.observed

  def action_spec(self):
    return self.acted

  def reset(self):
    self.left = list(self.script)
    return self.made(self.first)

  def step(self, action):
    self.actions.append(action)
    return self.made(self.left.pop(0))

  def made(self, step):
    if not isinstance(step, tuple):
      return step
    kind, reward, discount = step
    return dm_env.TimeStep(kind, reward, discount, self.seen)


def adapted(**specs_of):
  return FromDmEnv(Scripted(**specs_of), WHERE)


def vector(env):
  options = single.Options()
  return single.vectorize(
    lambda index: FromDmEnv(env, WHERE),
    options,
    num_envs=1,
    seed=0,
    where=WHERE,
  )


def played(script, actions=None, **others):
  """What one environment that plays a script gives, as arrays (T,)."""
  env = vector(Scripted(script, **others))
  steps = [env.reset()]
  for _ in range(len(script) + 1 if actions is None else actions):
    steps.append(env.step({'action': np.zeros(1, np.int32)}))
  return {k: np.concatenate([x[k] for x in steps]) for k in steps[0]}


OBSERVED = {
  'array': (
    specs.Array((2, 3), np.float32),
    spaces.Box(-np.inf, np.inf, (2, 3)),
  ),
  'half': (
    specs.BoundedArray((2,), np.float16, 0, 1),
    spaces.Box(0, 1, (2,), np.float16),
  ),
  'bounds': (
    specs.BoundedArray((2,), float, [-np.inf, 0], [1, np.inf]),
    spaces.Box(np.array([-np.inf, 0]), np.array([1, np.inf]), (2,), float),
  ),
  'whole': (
    specs.BoundedArray((2,), np.int64, -3, 4),
    spaces.Box(-3, 4, (2,), np.int64),
  ),
  'huge': (
    specs.Array((), np.int64),
    spaces.Box(-(2**63), 2**63 - 1, (), np.int64),
  ),
  'discrete': (specs.DiscreteArray(4), spaces.Discrete(4)),
  'flag': (specs.Array((), bool), spaces.Discrete(2)),
  'flags': (specs.Array((2,), bool), spaces.MultiBinary((2,))),
  'image': (
    specs.BoundedArray((8, 9, 3), np.uint8, 0, 255),
    spaces.Box(0, 255, (8, 9, 3), np.uint8),
  ),
  'shades': (
    specs.BoundedArray((8, 9, 3), np.float32, 0, 1),
    spaces.Box(0, 1, (8, 9, 3), np.float32),
  ),
  # Not an image: it has no bounds.
  'deep': (
    specs.Array((2, 3, 4), np.float64),
    spaces.Box(-np.inf, np.inf, (24,), np.float64),
  ),
}


@pytest.mark.parametrize('name', OBSERVED)
def test_specs_of_observations_become_spaces(name):
  spec, space = OBSERVED[name]
  env = adapted(observed={'x': spec}, seen={'x': spec.generate_value()})
  assert env.observation_space == spaces.Dict({'x': space})
  seen, _ = env.reset()
  assert env.observation_space.contains(
    {'x': np.asarray(seen['x'], space.dtype)}
  )


ACTED = {
  'discrete': (specs.DiscreteArray(4), spaces.Discrete(4)),
  'scalar': (
    specs.BoundedArray((), np.uint8, 3, 5),
    spaces.Discrete(3, start=3),
  ),
  'several': (
    specs.BoundedArray((2,), np.int32, [1, -2], [3, 9]),
    spaces.MultiDiscrete([3, 12], start=[1, -2]),
  ),
  'many': (
    specs.BoundedArray((), np.int64, 0, 2**40),
    spaces.Box(0, 2**40, (), np.int64),
  ),
  'grid': (
    specs.BoundedArray((2, 2), np.int32, 0, 5),
    spaces.Box(0, 5, (2, 2), np.int32),
  ),
  'torque': (
    specs.BoundedArray((2,), np.float64, [-2, 0], [4, np.inf]),
    spaces.Box(np.array([-2.0, 0]), np.array([4, np.inf]), (2,), np.float64),
  ),
  'flags': (specs.Array((2,), bool), spaces.MultiBinary((2,))),
}


@pytest.mark.parametrize('name', ACTED)
def test_actions_are_of_their_spec(name):
  spec, space = ACTED[name]
  env = Scripted([(MID, 0.0, 1.0)] * 20, acted=spec)
  wrapped = FromDmEnv(env, WHERE)
  assert wrapped.action_space == space
  wrapped.reset()
  space.seed(0)
  for _ in range(20):
    wrapped.step(space.sample())
  for action in env.actions:
    assert spec.validate(action) is not None
  assert len({str(x) for x in env.actions}) > 1


def test_actions_stay_within_bounds_that_no_float32_is():
  spec = specs.BoundedArray((2,), np.float64, -0.8, 0.7)
  env = Scripted([(MID, 0.0, 1.0)], acted=spec)
  vectors = vector(env)
  vectors.reset()
  assert float(np.float32(-0.8)) < -0.8
  vectors.step({'action': np.float32([[-1, 0.5]])})
  action = spec.validate(env.actions[0])
  np.testing.assert_allclose(action, [-0.8, 0.325])


@pytest.mark.parametrize('kind', [dict, tuple])
def test_parts_of_actions_without_numbers_are_made(kind):
  empty = specs.Array((0,), np.float32)
  nested = {'c': empty, 'deep': ({'d': empty}, [empty])}
  whole = {'a': specs.BoundedArray((2,), float, -1, 1), 'b': nested}
  spec = whole if kind is dict else (*whole.values(),)
  env = Scripted([(MID, 0.0, 1.0)], acted=spec)
  vectors = vector(env)
  vectors.reset()
  (key,) = vectors.action_space
  vectors.step({key: np.zeros((1, 2), np.float32)})
  (action,) = env.actions
  made = action['b'] if kind is dict else action[1]
  assert made['c'].shape == made['deep'][0]['d'].shape == (0,)
  assert made['deep'][1][0].dtype == np.float32


def test_numbers_that_are_no_pixels_are_named_as_their_spec():
  whole = specs.Array((8, 8, 3), np.int32)
  message = r"test: observation 'a' 'b': it is int32 .* of 0 to 255: give its"
  with pytest.raises(UserError, match=message):
    adapted(observed={'a': {'b': whole}})
  with pytest.raises(UserError, match='test: observation: it is int32'):
    adapted(observed=whole)
  pixels = specs.BoundedArray((8, 8, 3), np.int32, 0, 255)
  assert adapted(observed=pixels).observation_space.shape == (8, 8, 3)


class Breaks(Scripted):
  """Shows its seed, and raises in the second step."""

  def __init__(self, seed):
    super().__init__([(MID, 0.0, 1.0)], seen=[seed % 10007, seed % 9973])


def test_one_in_place_of_another_has_another_seed():
  choice = Choice(ENV, 'dm_env', make=f'{__name__}:Breaks')
  env = envs.make_vector_env(choice, 2, 0)
  steps = [env.reset()]
  steps += [env.step({'action': np.zeros(2, int)}) for _ in range(9)]
  seeds = [tuple(row) for x in steps if x['is_first'][0] for row in x['vector']]
  assert len(seeds) == len({*seeds}) == 8
  first = [streams.seed(0, Stream.MAKE, index) for index in range(2)]
  assert seeds[:2] == [(seed % 10007, seed % 9973) for seed in first]


def test_actions_are_nested_as_their_spec():
  spec = {
    'arm': (
      specs.BoundedArray((2,), np.float32, -1, 1),
      specs.DiscreteArray(2),
    ),
    'none': specs.Array((0,), np.float32),
  }
  env = Scripted([(MID, 0.0, 1.0)], acted=spec)
  space = FromDmEnv(env, WHERE).action_space
  assert list(space.spaces) == ['arm']
  vectors = vector(env)
  vectors.reset()
  vectors.step(
    {
      'arm/0': np.array([[0.5, -1]], np.float32),
      'arm/1': np.ones(1, np.int32),
    }
  )
  (action,) = env.actions
  arm, switch = action['arm']
  np.testing.assert_array_equal(arm, np.float32([0.5, -1]))
  assert arm.dtype == np.float32 and switch == 1
  assert action['none'].shape == (0,)


def test_observations_are_nested_named_and_left_out():
  observed = {
    'body': {'pos': specs.Array((2,), float), 'gone': specs.Array((0,), float)},
    'reward': specs.Array((), np.float32),
    'pair': [specs.Array((), float), specs.Array((0, 3), int)],
  }
  seen = {
    'body': {'pos': np.arange(2.0), 'gone': np.zeros(0), 'more': 1},
    'reward': np.float32(7),
    'pair': [4.0, np.zeros((0, 3), int)],
  }
  run = played([(LAST, 0.0, 0.0)], observed=observed, seen=seen)
  flags = {'reward', 'is_first', 'is_last', 'is_terminal'}
  assert run.keys() - flags == {'body/pos', 'obs_reward', 'pair/0'}
  np.testing.assert_array_equal(run['body/pos'][0], [0, 1])
  assert (run['obs_reward'] == 7).all() and (run['pair/0'] == 4).all()
  assert (run['reward'] == 0).all()


def test_an_end_is_terminal_if_nothing_comes_after_it():
  script = [(MID, 1.0, 1.0), (LAST, 2, np.float32(0)), (MID, 0.0, 1.0)]
  run = played(script, actions=4)
  np.testing.assert_array_equal(run['reward'], [0, 1, 2, 0, 1])
  np.testing.assert_array_equal(run['is_first'], [1, 0, 0, 1, 0])
  np.testing.assert_array_equal(run['is_last'], [0, 0, 1, 0, 0])
  np.testing.assert_array_equal(run['is_terminal'], [0, 0, 1, 0, 0])


@pytest.mark.parametrize('discount', [1.0, 1, np.float64(1), np.ones(1)])
def test_an_end_is_a_time_limit_if_it_is_not_discounted(discount):
  run = played([(MID, 1.0, discount), (LAST, 1.0, discount)], actions=3)
  np.testing.assert_array_equal(run['is_last'], [0, 0, 1, 0])
  assert not run['is_terminal'].any()


@pytest.mark.parametrize(
  ('step', 'told'),
  [((MID, 1.0, 0.9), '0.9'), ((MID, 1.0, 0.0), '0'), ((LAST, 1.0, 0.5), '0.5')],
)
def test_other_discounts_are_said_once_and_not_used(step, told, caplog):
  env = FromDmEnv(Scripted([step, step]), f'{WHERE}.{told}')
  env.reset()
  for _ in range(2):
    *_, terminated, truncated, _ = env.step(0)
    assert (terminated, truncated) == (False, step[0] is LAST)
  (record,) = caplog.records
  assert f'a step has the discount {told}. It is not used' in record.message


REFUSED = {
  'text': (specs.StringArray(()), 'StringArray of object, but only real'),
  'characters': (specs.Array((2,), 'U3'), 'Array of <U3, but only real'),
  'objects': (specs.Array((), object), 'Array of object, but only real'),
  'complex': (specs.Array((), complex), 'Array of complex128, but only real'),
  'nothing': (specs.Array((0, 2), float), 'its observations have no numbers'),
  'no entries': ({'a': {}}, 'its observations have no numbers'),
  'no spec': ({'a': 3}, "observation 'a': a int is no spec of dm_env"),
  'in depth': ({'a': [specs.StringArray(())]}, "'a' 0: it is a StringArray"),
  'not a number': (
    types.SimpleNamespace(shape=(), dtype='f8', minimum=np.nan, maximum=1),
    'its bounds are no bounds: nan to 1',
  ),
  'infinite whole': (
    types.SimpleNamespace(shape=(), dtype='i8', minimum=-np.inf, maximum=1),
    'its bounds are no bounds: -inf to 1',
  ),
  'crossed': (
    types.SimpleNamespace(shape=(2,), dtype='f8', minimum=[0, 2], maximum=1),
    'its bounds are no bounds',
  ),
  'misfit': (
    types.SimpleNamespace(shape=(2,), dtype='f8', minimum=[0] * 3, maximum=1),
    r'its bounds do not fit its shape \(2,\)',
  ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_specs_that_cannot_be_read_are_refused(name):
  spec, message = REFUSED[name]
  with pytest.raises(UserError, match=message):
    adapted(observed=spec)


def test_two_names_that_become_one_are_refused():
  observed = {'a/b': specs.Array((), float), 'a_b': specs.Array((), float)}
  with pytest.raises(UserError, match=r"two of \['a/b', 'a_b'\] would have"):
    FromDmEnv(
      Scripted(observed=observed), WHERE, rename=lambda x: x.replace('/', '_')
    )


BROKEN = {
  'begins again': ((FIRST, None, None), 'step returned the first step of an'),
  'no discount': ((MID, 1.0, None), 'must be a number from 0 to 1, it is None'),
  'large': ((MID, 1.0, 1.5), 'must be a number from 0 to 1, it is 1.5'),
  'not a number': ((MID, 1.0, np.nan), 'from 0 to 1, it is nan'),
  'two': ((LAST, 1.0, np.ones(2)), 'must be a number from 0 to 1'),
  'no reward': ((MID, None, 1.0), 'the reward must be one number, it is None'),
  'rewards': ((MID, {'a': 1.0}, 1.0), 'the reward must be one number'),
  'nothing': (None, 'must return a dm_env.TimeStep, it returned a NoneType'),
  'of gymnasium': ([0, 0, False, False, {}], 'it returned a list'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_steps_that_break_the_rules_are_refused(name):
  step, message = BROKEN[name]
  with pytest.raises(EnvError, match=message):
    played([step])


def test_an_episode_must_begin_with_a_first_step():
  env = Scripted()
  env.first = (LAST, 0.0, 1.0)
  with pytest.raises(EnvError, match='reset must return the first step'):
    FromDmEnv(env, WHERE).reset()


def test_observations_must_have_what_their_spec_has():
  env = adapted(observed={'a': specs.Array((), float)}, seen={'b': 1.0})
  with pytest.raises(EnvError, match=r"lacks what its spec has .*'a'"):
    env.reset()


def test_it_must_have_the_methods_of_dm_env():
  with pytest.raises(UserError, match='a Env without observation_spec, action'):
    FromDmEnv(gymnasium.Env(), WHERE)


def test_a_function_is_called_with_seeds_and_arguments():
  make = lambda seed, **fields: envs.make_vector_env(
    Choice(ENV, 'dm_env', make=MAKE, **fields), 2, seed
  )
  first, again, other = (make(seed).reset()['noise'] for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert (first != other).all() and (first[0] != first[1]).all()
  env = make(0, arguments=('seed=3',), repeat=5)
  env.reset()
  step = env.step({'action': np.array([1, 0], np.int32)})
  np.testing.assert_array_equal(step['reward'], [5, 0])
  np.testing.assert_array_equal(step['is_terminal'], [True, False])


def test_a_function_that_makes_something_else_is_refused():
  with pytest.raises(UserError, match='made a Namespace without reset'):
    envs.make_vector_env(Choice(ENV, 'dm_env', make='argparse:Namespace'), 1, 0)
  with pytest.raises(UserError, match=r'make = .*: it cannot be called'):
    envs.make_vector_env(Choice(ENV, 'dm_env', make='sys:path'), 1, 0)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
  def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr('importlib.metadata.version', version)
  monkeypatch.setitem(sys.modules, 'dm_env', None)
  monkeypatch.delitem(sys.modules, 'tests.smoke.counting', raising=False)
  with pytest.raises(UserError, match=r"'dm_env' needs: pip install dm-env"):
    envs.make_vector_env(Choice(ENV, 'dm_env', make=MAKE), 1, 0)
