"""A transformer and a state-space model as memories: R2I and its like."""

import jax
import numpy as np
import pytest

from dreamer_nnx import spaces, workflow
from experiments.variants import toys
from experiments.variants.toys import Toy, compiled

B, T = 3, 9
RNG = np.random.default_rng(0)
ACTION = {'action': RNG.integers(0, 3, (B, T)).astype(np.int32)}
NEVER = np.zeros((B, T), bool)
FIRST = NEVER.copy()
FIRST[0, 2] = FIRST[1, 0] = FIRST[2, [0, 1, 5]] = True


class Model:
  """Dynamics of a config, of which the observed states are not drawn."""

  def __init__(self, name):
    # Levels nearest to a number.
    self.toy = Toy(name, {f'dynamics.{name}.stochastic.name': 'fsq'})
    self.state = self.toy.init()
    self.tokens = RNG.normal(size=(B, T, toys.TINY['**.units']))
    self.tokens = self.tokens.astype(np.float32)
    call = lambda method: compiled(
      lambda state, carry, *inputs: getattr(
        self.toy.agent(state).dynamics, method
      )(carry, *inputs, jax.random.key(0))
    )
    self._step, self._observe = call('step'), call('observe')

  def initial(self):
    return self.toy.agent(self.state).dynamics.initial(B)

  def step(self, carry, *inputs):
    return self._step(self.state, carry, *inputs)

  def observe(self, carry, *inputs):
    return self._observe(self.state, carry, *inputs)

  def used(self):
    """A carry in the middle of an episode."""
    back = lambda x: x[:, ::-1]
    inputs = jax.tree.map(back, (self.tokens, ACTION, NEVER))
    return self.observe(self.initial(), *inputs)[0]


@pytest.fixture(scope='module', params=['transformer', 'ssm'])
def model(request):
  return Model(request.param)


def close(found, expected, atol=1e-5):
  compare = lambda x, y: np.testing.assert_allclose(x, y, atol=atol)
  jax.tree.map(compare, found, expected)


@pytest.mark.whole
def test_observe_equals_repeated_step(model):
  carry = model.used()
  last, observed = model.observe(carry, model.tokens, ACTION, FIRST)
  for t in range(T):
    now = jax.tree.map(lambda x, t=t: x[:, t], (model.tokens, ACTION, FIRST))
    carry, one = model.step(carry, *now)
    close(one, jax.tree.map(lambda x, t=t: x[:, t], observed))
  close(carry, last)


@pytest.mark.whole
def test_a_token_changes_no_latent_before_it(model):
  carry, later = model.used(), model.tokens.copy()
  _, one = model.observe(carry, model.tokens, ACTION, NEVER)
  for t in range(1, T):
    later = model.tokens.copy()
    later[:, t:] *= -3
    _, two = model.observe(carry, later, ACTION, NEVER)
    before = lambda x, t=t: x[:, :t]
    close(jax.tree.map(before, two), jax.tree.map(before, one), atol=0)
    assert (two.feat['stoch'] != one.feat['stoch'])[:, t].any()


@pytest.mark.whole
def test_nothing_before_a_first_step_matters(model):
  first, t = NEVER.copy(), 4
  first[:, t] = True
  tokens, action = model.tokens.copy(), ACTION['action'].copy()
  # The action at the first step is that before it.
  tokens[:, :t] *= -3
  action[:, : t + 1] = (action[:, : t + 1] + 1) % 3
  _, one = model.observe(model.used(), model.tokens, ACTION, first)
  _, two = model.observe(model.initial(), tokens, {'action': action}, first)
  after = lambda x: x[:, t:]
  close(after(two.feat['deter']), after(one.feat['deter']), atol=1e-6)
  close(after(two.feat['stoch']), after(one.feat['stoch']), atol=0)
  assert (one.feat['deter'] != two.feat['deter'])[:, t - 1].any()


def test_a_stored_step_takes_the_bytes_of_its_entry_alone(model):
  toy, rows = model.toy, 4
  carry, key = toy.pure.initial(rows), jax.random.key(0)
  obs = {
    'vector': np.ones((rows, 3), np.float32),
    'is_first': np.ones(rows, bool),
  }
  act = compiled(toy.pure.act)
  _, action, kept = act(model.state, carry, obs, key, 0)
  entry = toy.layout.entry_space
  assert kept.keys() == {f'latent/{name}' for name in entry}
  size = lambda x: int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize
  bytes_of_entry = sum(map(size, entry.values()))
  assert sum(x.nbytes for x in kept.values()) == rows * bytes_of_entry
  replay = workflow.make_replay(
    toy.config, toy.obs_space, toy.action_space, toy.learner
  )
  many = toy.config.train.envs
  flags = {k: np.zeros(many, bool) for k in spaces.RESERVED[1:]}
  given = obs | jax.device_get(kept | action)
  repeated = {k: np.resize(x, (many, *x.shape[1:])) for k, x in given.items()}
  replay.add(repeated | flags | {'reward': np.zeros(many, np.float32)})
  # The vector, the action, the reward, and three flags.
  expected = bytes_of_entry + 3 * 4 + 4 + 4 + 3
  found = replay.stats()['size_gib'] * 2**30 / len(replay)
  assert found == pytest.approx(expected)
