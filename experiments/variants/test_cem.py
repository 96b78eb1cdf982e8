"""Planning by the cross-entropy method: what it finds, reads and remembers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx import workflow
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.contracts import World
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import BEHAVIOR
from dreamer_nnx.training.actor import Actor
from experiments.variants import toys
from experiments.variants.toys import Toy, compiled

H, ROWS = 3, 16
RNG = np.random.default_rng(0)
TURN = np.array([[0.9, 0.4], [-0.3, 0.8]], np.float32)
PUSH = np.array([0.5, 1.0], np.float32)
GOAL = np.array([0.3, -0.2], np.float32)
GOING_ON = 0.9


class Linear:
  """A linear model x' = x A + a b, whose reward is -|x - goal|²."""

  def __init__(self, discrete):
    self.discrete = discrete

  def predict(self, carry, action, key):
    del key
    action = action['action']
    action = action - 1.0 if self.discrete else action[..., 0]
    x = carry['x'] @ TURN + action[..., None] * PUSH
    return {'x': x}, {'x': x}


def known(discrete, **options):
  """A planner in the linear model, and the model's world."""
  space = gs.Discrete(3) if discrete else gs.Box(-1, 1, (1,), np.float32)
  behavior = Choice(BEHAVIOR, 'cem', length=H, **options)(
    obs_space=toys.OBS,
    action_space={'action': space},
    feat_space={'x': 2},
    options=AgentOptions(),
    precision=Precision(),
    rngs=nnx.Rngs(0),
  )
  reward = lambda feat: outputs.MSE(-jnp.square(feat['x'] - GOAL).sum(-1))
  logit = np.log(GOING_ON / (1 - GOING_ON))
  cont = lambda feat: outputs.Binary(jnp.full(feat['x'].shape[:-1], logit))
  return behavior, World(None, Linear(discrete), None, reward, cont, behavior)


def best_first(starts, choices):
  """The first actions (N,) of the best sequences, by trying all of them."""
  every = np.array(list(itertools.product(choices, repeat=H)), np.float32)
  x = np.repeat(starts[:, None], len(every), 1)
  total, weight = 0, 1.0
  for t in range(H):
    x = x @ TURN + every[:, t, None] * PUSH
    total, weight = (
      total - weight * ((x - GOAL) ** 2).sum(-1),
      weight * GOING_ON,
    )
  return every[total.argmax(1), 0]


def planned(behavior, world, starts, memory=None, first=True):
  """Greedy actions at the starts, and the next memory."""

  @compiled
  def act(starts, memory, first):
    carry, obs = {'x': starts}, {'is_first': first}
    return behavior.act(
      world, carry, carry, memory, obs, jax.random.key(0), 'mode'
    )

  memory = behavior.initial(len(starts)) if memory is None else memory
  action, memory, _ = act(starts, memory, np.full(len(starts), first))
  return np.asarray(action['action']), memory


def test_discrete_plans_are_the_best_of_all():
  starts = RNG.normal(size=(ROWS, 2)).astype(np.float32)
  found, _ = planned(*known(True, plans=128), starts)
  expected = best_first(starts, (-1, 0, 1)) + 1
  assert set(expected) == {0, 1, 2}
  np.testing.assert_array_equal(found, expected)


def test_continuous_plans_are_the_best_of_all():
  starts = RNG.normal(size=(ROWS, 2)).astype(np.float32)
  options = dict(plans=256, elites=16, iterations=10, lowest=1e-3)
  found, _ = planned(*known(False, **options), starts)
  expected = best_first(starts, np.linspace(-1, 1, 41))
  assert expected.std() > 0.2 and (np.abs(expected) < 0.9).any()
  # Half of a step of the grid.
  np.testing.assert_allclose(found[:, 0], expected, atol=0.05)


# Models whose predictions are all but certain, without which a plan would be
# worth something else each time.
MODELS = {
  name: {
    f'dynamics.{name}.outscale': 1e3,
    f'dynamics.{name}.stochastic.categorical.unimix': 0.0,
  }
  for name in ('rssm', 'transformer')
}
# Without these all plans would be worth the same.
TOLD_APART = {
  '**.head.symexp_twohot.outscale': 10.0,
  'behavior.cem.length': H,
}
MANY = {'behavior.cem.plans': 128, 'behavior.cem.elites': 4}
# So few that what a plan begins with still shows in the end.
FEW = {'behavior.cem.plans': 16, 'behavior.cem.iterations': 1}


@pytest.fixture(scope='module', params=list(MODELS))
def model(request):
  return {'dynamics.name': request.param, **MODELS[request.param]}


@pytest.fixture(scope='module')
def toy(model):
  return Toy('cem', TOLD_APART | FEW | model)


def observations(rows):
  return {
    'vector': RNG.normal(size=(rows, 3)).astype(np.float32),
    'is_first': np.ones(rows, bool),
  }


def test_in_a_model_plans_are_the_best_of_all(model):
  toy = Toy('cem', TOLD_APART | MANY | model)
  every = np.array(list(itertools.product(range(3), repeat=H)), np.int32)

  @compiled
  def both(state, obs, key):
    agent = toy.agent(state)
    carry, action, _ = agent.act(agent.initial(ROWS), obs, key, 'mode')
    # (N, ...) to (N 27, ...), and (27, H) to (N 27, H).
    many = jax.tree.map(
      lambda x: jnp.repeat(x, len(every), 0), carry['dynamics']
    )
    plans = {'action': jnp.tile(every, (ROWS, 1))}
    scores = agent.behavior.score(agent.world, many, plans, key)
    return action['action'], scores.reshape(ROWS, -1)

  for seed in range(3):
    state = toy.init(seed)
    action, scores = both(state, observations(ROWS), jax.random.key(seed))
    assert (scores.std(1) > 1e-3).all()
    np.testing.assert_array_equal(action, every[scores.argmax(1), 0])


def test_acting_holds_what_the_planner_reads(toy):
  parts = {'/'.join(name.split('/')[:2]) for name in toy.layout.acting}
  parts = {p if p.startswith('behavior') else p.split('/')[0] for p in parts}
  # Neither decoder nor policy, slow value or normalisers.
  expected = {'encoder', 'dynamics', 'reward', 'cont', 'behavior/value'}
  assert parts == expected


def test_the_memory_restarts_where_an_episode_begins(toy):
  act = compiled(toy.pure.act, static_argnames='mode')
  state, obs = toy.init(), observations(ROWS)
  fresh, key = toy.pure.initial(ROWS), jax.random.key(0)
  used, *_ = act(state, fresh, observations(ROWS), key, 0)
  assert not same(used['memory'], fresh['memory'])
  begun = act(state, used, obs, key, 1)
  assert same(begun, act(state, fresh, obs, key, 1))
  # In the middle of an episode the plan of the step before counts.
  going = obs | {'is_first': np.zeros(ROWS, bool)}
  other = used | {'memory': fresh['memory']}
  one, two = (act(state, x, going, key, 1)[0]['memory'] for x in (used, other))
  assert not same(one, two)
  # Row by row.
  half = obs | {'is_first': np.arange(ROWS) % 2 == 0}
  mixed = act(state, used, half, key, 1)[0]['memory']
  rows = lambda tree: jax.tree.map(lambda x: x[::2], tree)
  assert same(rows(mixed), rows(begun[0]['memory']))


def same(one, two):
  return jax.tree.all(jax.tree.map(np.array_equal, one, two))


def test_the_memory_resumes_exactly(tmp_path):
  sizes = {'**.simple.mults': (1,), 'encoder.simple.depth': 1, 'train.envs': 2}
  config = toys.tiny('cem', sizes | TOLD_APART)
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  state = learner.init(0)
  acting = learner.acting(state)
  actor = Actor(envs, learner, seed=0)
  actor.start()
  for i in range(5):
    actor.act(acting, i)
    actor.move()
  with workflow.make_checkpoints(config, tmp_path) as checkpoints:
    assert checkpoints.save(1, state, actor.arrays(), {'updates': 0})
    checkpoints.wait()
    restored = checkpoints.restore(learner.abstract)
  resumed = Actor(envs, learner, seed=0)
  resumed.resume(restored.loop)
  assert same(resumed.carry, actor.carry)
  expected = actor.act(acting, 5)
  assert same(resumed.act(learner.acting(restored.state), 5), expected)
  assert same(resumed.carry, actor.carry)
  envs.close()
