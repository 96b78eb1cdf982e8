"""No two draws of a run share a key or a seed."""

import collections
import contextlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, streams, workflow
from dreamer_nnx.agent.build import build
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice, Part, Slot, fields
from dreamer_nnx.slots import DECODER, ENCODER
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import loop
from tests.launcher import ROOT, TINY

SEEDS = (0, 1, 2, 15_485_863, 1_000_003, 2**32 - 1)
FEW = (0, 1, 2, 3)
# What a run folds in; one count of processes and steps is the other's, too.
KEYS = {
  Stream.INIT: [FEW],
  Stream.UPDATE: [FEW],
  Stream.ACT: [FEW, (0, 1, 2, 16)],
  Stream.REPORT: [(0, 1, 2, 16)],
  Stream.EVALUATE: [FEW, FEW],
  Stream.GAME: [FEW],
  Stream.POLICY: [FEW],
  Stream.DREAM: [FEW],
}
NUMBERS = {
  Stream.ENVS: [FEW, (0, 1, 2, 16, 15_485_863)],
  Stream.EVALUATION_ENVS: [FEW],
  Stream.REPLAY: [FEW],
  Stream.SHARED_REPLAY: [FEW],
  Stream.MAKE: [range(16)],
  Stream.RESET: [range(16)],
  Stream.CRASH: [],
  Stream.REPLACEMENT: [],
  Stream.AGAIN: [(1, 2, 3)],
}
DRAWS = ('uniform', 'normal', 'truncated_normal', 'randint', 'bernoulli')


def data(key):
  return tuple(np.asarray(jax.random.key_data(key)).tolist())


def places(table):
  for stream, axes in table.items():
    yield from ((stream, *path) for path in itertools.product(*axes))


def test_the_table_has_all_streams():
  assert {*KEYS, *NUMBERS} == set(Stream) and not KEYS.keys() & NUMBERS.keys()


def test_keys_of_all_streams_and_what_is_split_off_them_differ():
  split = jax.jit(lambda key: jax.random.key_data(jax.random.split(key, 4)))
  found = []
  for seed, place in itertools.product(SEEDS, places(KEYS)):
    key = streams.key(seed, *place)
    # A whole path is split further; what it begins with never is.
    found += [data(key), *map(tuple, np.asarray(split(key)).tolist())]
  roots = [data(jax.random.key(seed)) for seed in SEEDS]
  roots += [data(streams.key(s, x)) for s in SEEDS for x in KEYS]
  assert len(set(found)) == len(found)
  assert not set(found) & set(roots)


def test_a_split_is_a_fold():
  # Why a key that is folded must not be split, too.
  key = streams.key(0, Stream.UPDATE)
  halves = jax.random.split(key)
  assert [data(k) for k in halves] == [
    data(jax.random.fold_in(key, i)) for i in range(2)
  ]


def test_seeds_of_all_streams_differ():
  found = [
    streams.seed(seed, *place)
    for seed, place in itertools.product(SEEDS, places(NUMBERS))
  ]
  assert len(set(found)) == len(found)
  assert all(0 <= seed < 2**31 for seed in found)
  assert not set(found) & set(SEEDS)


def test_generators_of_seeds_differ():
  first = lambda rng: rng.integers(2**62)
  found = [
    first(np.random.default_rng(streams.seed(3, *place)))
    for place in places(NUMBERS)
  ]
  assert len(set(found)) == len(found)


def test_a_new_start_has_other_streams_and_the_first_its_own():
  again = [streams.seed_of_start(5, count) for count in range(4)]
  assert again[0] == 5 and len(set(again)) == 4
  keys = {data(streams.key(seed, *x)) for seed in again for x in places(KEYS)}
  assert len(keys) == 4 * len(list(places(KEYS)))


def test_draws_stay_as_they_are():
  assert data(streams.key(7, Stream.ACT, 1)) == (4073741833, 2748900490)
  assert streams.seed(7, Stream.ENVS, 1, 20) == 1442508329


@pytest.mark.parametrize('seed', [-1, 2**32])
def test_seeds_that_would_equal_others_are_refused(seed):
  for make in (streams.key, streams.seed):
    with pytest.raises(ValueError, match=rf'^config.seed = {seed}: must be in'):
      make(seed, Stream.REPLAY)


class Recorder:
  """The keys of all draws, by the part of the run that drew."""

  def __init__(self, monkeypatch):
    self.keys = collections.defaultdict(list)
    self._part = ''
    for name in DRAWS:
      draw = getattr(jax.random, name)
      monkeypatch.setattr(jax.random, name, self._recorded(draw))

  @contextlib.contextmanager
  def during(self, part):
    self._part = part
    yield
    jax.effects_barrier()

  def _recorded(self, draw):
    def recorded(key, *args, **kwargs):
      jax.debug.callback(self._add, jax.random.key_data(key))
      return draw(key, *args, **kwargs)

    return recorded

  def _add(self, key):
    self.keys[self._part].append(tuple(np.asarray(key).tolist()))


def played(config, recorder):
  """Goes through a run by hand; `recorder` is told what it does."""
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  with recorder.during('init'):
    state = learner.init(config.seed)
  replay = workflow.make_replay(
    config, envs.obs_space, envs.action_space, learner
  )
  train = configs.bind_all(config)['train']()
  trainer = loop.Trainer(learner, state, envs, replay, (), train, config.seed)
  with recorder.during('games'):
    trainer.actor.start()
  for count in range(12):
    acting = learner.acting(state)
    with recorder.during(f'act {count}'):
      replay.add(trainer.actor.act(acting, count))
    with recorder.during('games'):
      trainer.actor.move()
  for count in range(2):
    with recorder.during(f'update {count}'):
      trainer.update()
      trainer.write_back()
    trainer.env_steps = count
    with recorder.during(f'report {count}'):
      trainer.report()
  with recorder.during('evaluation'):
    workflow.evaluate_policy(config, learner, trainer.state, 'sample')


def test_no_key_of_a_run_draws_twice(monkeypatch):
  config = overrides.load_file(str(ROOT / 'configs' / 'demo.py'))
  # A game that no other test has traced without the recorder.
  fields = TINY | {'config.env.track.move_probability': 0.375}
  overrides.override(config, ['', *(f'--{k}={v}' for k, v in fields.items())])
  recorder = Recorder(monkeypatch)
  played(configs.resolve(config), recorder)
  assert len(recorder.keys) == 1 + 1 + 12 + 2 + 2 + 1
  parts = {name: set(keys) for name, keys in recorder.keys.items()}
  for name, keys in recorder.keys.items():
    # The backward pass repeats draws.
    assert 'update' in name or len(parts[name]) == len(keys), name
  drawn = set().union(*parts.values())
  assert len(drawn) == sum(map(len, parts.values()))
  assert len(drawn) > 200
  # Nor was any of them split as well.
  keys = jax.random.wrap_key_data(np.array(sorted(drawn), np.uint32))
  split = jax.vmap(lambda key: jax.random.key_data(jax.random.split(key, 8)))
  assert not drawn & {tuple(x) for x in split(keys).reshape(-1, 2).tolist()}


# Initial parameters.

KEYED = Slot('keyed', home='tests.toys', given=('rngs',), builds=object)
HEADS = Slot('heads', home='tests.toys', given=('rngs',), builds=object)


@HEADS.register('one')
class Head(nnx.Module):
  def __init__(self, rngs, *, units: int = 2):
    self.linear = nnx.Linear(3, units, rngs=rngs)


class Body(nnx.Module):
  """Draws itself, and has parts that do."""

  def __init__(
    self,
    rngs,
    *,
    before: int = 0,
    head: Choice = Choice(HEADS, 'one'),
    tail: Part = Part(Head),
    heads: int = 1,
  ):
    self.before = nnx.List([nnx.Linear(1, 1, rngs=rngs) for _ in range(before)])
    self.heads = nnx.List([head(rngs=rngs) for _ in range(heads)])
    self.tail = tail(rngs=rngs)


for name in ('a', 'b'):
  KEYED.register(name)(Body)
A, B = (
  Choice(KEYED, name).at(f'config.{place}')
  for name, place in (('a', 'eyes'), ('b', 'ears'))
)


def flat(*modules):
  """Every number of modules, one array each."""
  return [
    np.concatenate([np.ravel(x) for x in jax.tree.leaves(nnx.state(module))])
    for module in modules
  ]


def head_of(body, index=0):
  return np.asarray(body.heads[index].linear.kernel[...])


def test_parameters_do_not_depend_on_the_order_of_building():
  def built(order):
    rngs = nnx.Rngs(3)
    return flat(*[call(rngs=rngs) for call in order][:: order[0] is A or -1])

  first, second = built([A, B]), built([B, A])
  np.testing.assert_array_equal(first[0], second[0])
  np.testing.assert_array_equal(first[1], second[1])
  assert not np.array_equal(first[0], first[1])


def test_parameters_do_not_depend_on_what_was_drawn_before():
  rngs = nnx.Rngs(3)
  rngs.params(), rngs.params(), nnx.Linear(4, 4, rngs=rngs)
  np.testing.assert_array_equal(flat(A(rngs=rngs)), flat(A(rngs=nnx.Rngs(3))))
  # Nor do those of a part on what its owner draws for itself.
  more = A.replace(before=3)(rngs=nnx.Rngs(3))
  np.testing.assert_array_equal(head_of(more), head_of(A(rngs=nnx.Rngs(3))))


def test_parameters_depend_on_the_path_and_the_key():
  bodies = [
    A(rngs=nnx.Rngs(3)),
    A.at('config.nose')(rngs=nnx.Rngs(3)),
    A(rngs=nnx.Rngs(4)),
    Choice(KEYED, 'b').at('config.eyes')(rngs=nnx.Rngs(3)),
  ]
  kernels = [head_of(body) for body in bodies]
  kernels += [np.asarray(body.tail.linear.kernel[...]) for body in bodies]
  assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)
  # Of random streams with several keys, that of `params` counts.
  streams_of = lambda **keys: flat(A(rngs=nnx.Rngs(**keys)))
  np.testing.assert_array_equal(
    streams_of(params=3, dropout=1), streams_of(default=3)
  )


def test_members_of_an_ensemble_differ():
  one, three = (A.replace(heads=n)(rngs=nnx.Rngs(3)) for n in (1, 3))
  np.testing.assert_array_equal(head_of(one), head_of(three))
  assert len({head_of(three, i).tobytes() for i in range(3)}) == 3
  np.testing.assert_array_equal(*(m.tail.linear.kernel for m in (one, three)))


def test_parameters_are_the_same_inside_transformations():
  make = lambda key: nnx.state(A(rngs=nnx.Rngs(key)))
  plain = make(jax.random.key(3))
  compiled = jax.jit(make)(jax.random.key(3))
  again = jax.jit(make)(jax.random.key(3))
  for x, y, z in zip(
    *map(jax.tree.leaves, (plain, compiled, again)), strict=True
  ):
    np.testing.assert_allclose(x, y, rtol=1e-6)
    np.testing.assert_array_equal(y, z)
  shapes = nnx.eval_shape(lambda: A(rngs=nnx.Rngs(3)))
  assert jax.tree.map(jnp.shape, nnx.state(shapes)) == jax.tree.map(
    jnp.shape, plain
  )
  many = jax.vmap(make)(jax.random.split(jax.random.key(3), 4))
  kernel = many['tail']['linear']['kernel'][...]
  assert kernel.shape[0] == 4 and len(np.unique(kernel[:, 0, 0])) == 4


def test_components_of_an_agent_have_parameters_of_their_own():
  space = {'vector': gym_spaces.Box(-1, 1, (3,), np.float32)}
  given = dict(precision=Precision())
  fields = dict(layers=1, units=4)
  encoder = Choice(ENCODER, 'simple', **fields).at('config.encoder')
  decoder = Choice(DECODER, 'simple', **fields).at('config.decoder')
  calls = [
    lambda rngs: encoder(obs_space=space, rngs=rngs, **given),
    lambda rngs: decoder(
      obs_space=space, feat_space={'deter': 3}, rngs=rngs, **given
    ),
  ]
  rngs, reverse = nnx.Rngs(0), nnx.Rngs(0)
  one = [call(rngs) for call in calls]
  two = [call(reverse) for call in reversed(calls)][::-1]
  for x, y in zip(flat(*one), flat(*two), strict=True):
    np.testing.assert_array_equal(x, y)


class Extra(nnx.Module):
  """An objective with parameters."""

  def __init__(self, feat_space, *, scale: float = 1.0, rngs):
    self.scale = scale
    self.linear = nnx.Linear(sum(feat_space.values()), 2, rngs=rngs)

  def losses(self, replayed, key, update):
    return {}, {}


def test_another_component_changes_no_parameters_of_the_others():
  config = overrides.load_file(str(ROOT / 'configs' / 'demo.py'))
  overrides.override(config, ['', *(f'--{k}={v}' for k, v in TINY.items())])
  spaces = (
    {'image': gym_spaces.Box(0, 255, (8, 8, 3), np.uint8)},
    {'action': gym_spaces.Discrete(3)},
  )

  def built(names):
    configs.apply(config, {'objectives.names': names})
    parts = configs.bind_all(config)
    parts = {name: parts[name] for name in fields(build)}
    state = nnx.state(build(*spaces, **parts, rngs=nnx.Rngs(0)))
    return {
      '/'.join(map(str, path)): np.asarray(x[...])
      for path, x in nnx.to_flat_state(state)
    }

  one, two = built(()), built((f'{__name__}:Extra',))
  added = two.keys() - one.keys()
  assert {name.rpartition('/')[0] for name in added} == {
    'objectives/Extra/linear'
  }
  for name, x in one.items():
    np.testing.assert_array_equal(x, two[name], err_msg=name)
  # No two of them have the same random numbers, but for the slow copies.
  drawn = {
    name: x.ravel()[:4].tobytes()
    for name, x in two.items()
    if '/slow_value/' not in name and x.ndim > 1 and len(np.unique(x)) > 3
  }
  assert len(drawn) > 20 and len(set(drawn.values())) == len(drawn)
