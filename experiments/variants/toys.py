"""Tiny agents of the configs here, for tests: compiled in seconds."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces as gs

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.training.batch_check import step_spaces
from dreamer_nnx.training.layout import State

CONFIGS = Path(__file__).parent / 'configs'
OBS = {'vector': gs.Box(-np.inf, np.inf, (3,), np.float32)}
ACTIONS = {'action': gs.Discrete(3)}
ROWS, STEPS = 2, 4
TINY = {
  '**.units': 8,
  '**.layers': 0,
  'encoder.simple.layers': 1,
  'dynamics.*.layers': 1,
  '**.bins': 11,
  'dynamics.rssm.deter': 8,
  'dynamics.rssm.hidden': 8,
  'dynamics.rssm.blocks': 2,
  'dynamics.rssm.imglayers': 1,
  'dynamics.*.stochastic.categorical.stoch': 2,
  'dynamics.*.stochastic.categorical.classes': 4,
  'dynamics.*.stochastic.fsq.stoch': 4,
  'dynamics.*.stochastic.fsq.levels': 3,
  'dynamics.transformer.deter': 8,
  'dynamics.transformer.heads': 2,
  'dynamics.transformer.window': 4,
  'dynamics.transformer.horizon': 3,
  'dynamics.transformer.hidden': 8,
  'dynamics.ssm.deter': 8,
  'dynamics.ssm.state': 4,
  'dynamics.ssm.hidden': 8,
  'decoder.simple.bspace': 0,
  'agent.imag_length': 3,
  'agent.imag_last': 0,
  'optimizer.dreamer.lr': 1e-2,
  'optimizer.dreamer.warmup': 0,
  'train.batch_size': ROWS,
  'train.batch_length': STEPS,
  'precision.compute': 'float32',
}
# A compilation takes longer than all the runs.
compiled = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)
Spaces = Mapping[str, gs.Space]
Batch = dict[str, np.ndarray]


def tiny(variant: str, patterns: Mapping[str, Any] | None = None) -> Any:
  """The config of a variant here, of tiny sizes."""
  config = overrides.load_file(str(CONFIGS / f'{variant}.py'))
  configs.apply(config, TINY | dict(patterns or {}))
  return config


class Toy:
  """An agent with its compiled functions.

  Args:
    patterns: Over those of the config and of tiny sizes.
  """

  def __init__(
    self,
    variant: str,
    patterns: Mapping[str, Any] | None = None,
    obs_space: Spaces = OBS,
    action_space: Spaces = ACTIONS,
  ):
    self.config = config = tiny(variant, patterns)
    self.learner = workflow.make_learner(config, obs_space, action_space)
    self.rows = configs.bind_all(config)['train']().batch_size
    self.pure, self.layout = self.learner.pure, self.learner.layout
    self.spaces = step_spaces(obs_space, action_space, self.learner)
    self.obs_space, self.action_space = obs_space, action_space
    self.update = compiled(self.pure.update)

  def init(self, seed: int = 0) -> State:
    """The first state."""
    keys = jax.random.split(jax.random.key(seed))
    return compiled(self.pure.init)(*keys)

  def agent(self, state: State) -> Agent:
    """The live agent of a state."""
    return self.layout.merge({k: state[k] for k in self.layout.shapes})

  def batch(self, seed: int, **values: np.ndarray) -> Batch:
    """Draws steps (B, context + T); some of them begin or end an episode."""
    rng = np.random.default_rng(seed)
    shape = self.rows, self.pure.length + self.layout.context
    batch = {
      k: np.zeros((*shape, *x.shape), x.dtype) for k, x in self.spaces.items()
    }
    for key, space in {**self.obs_space, **self.action_space}.items():
      batch[key] = drawn(rng, space, shape)
    batch['is_last'] = rng.random(shape) < 0.2
    batch['is_terminal'] = batch['is_last'] & (rng.random(shape) < 0.5)
    batch['is_first'] = np.roll(batch['is_last'], 1, 1)
    batch['reward'] = rng.normal(size=shape).astype(np.float32)
    return batch | values

  def loss(self, agent: Agent, batch: Batch) -> tuple[jax.Array, dict]:
    """The loss of a batch, after nothing; see `Agent.loss`."""
    batch, key = jax.tree.map(jnp.asarray, batch), jax.random.key(0)
    carry = agent.initial(self.rows)
    return agent.loss(carry, batch, key, length=self.pure.length)

  def train(self, state: State, batches: Iterable[Batch]) -> tuple[State, dict]:
    """The state after an update on each batch, and the last metrics."""
    carry, metrics = self.pure.initial(self.rows), {}
    for batch in batches:
      state, carry, _, metrics = self.update(state, carry, batch)
    return jax.device_get((state, metrics))


def drawn(
  rng: np.random.Generator, space: gs.Space, shape: tuple[int, ...]
) -> np.ndarray:
  """Draws values of a space: classes, bytes, or numbers of -1 to 1."""
  size = (*shape, *space.shape)
  if isinstance(space, gs.Discrete):
    return rng.integers(0, space.n, size).astype(np.int32)
  if isinstance(space, gs.MultiDiscrete):
    return rng.integers(0, space.nvec, size).astype(np.int32)
  low, high = (0, 256) if space.dtype == np.uint8 else (-1, 1)
  return rng.uniform(low, high, size).astype(space.dtype)


def after_five(toy: Toy, state: State | None = None, **values: Any) -> State:
  """The state after five updates, on batches with these values."""
  batches = [toy.batch(i, **values) for i in range(5)]
  return toy.train(toy.init() if state is None else state, batches)[0]


def differing(one: State, two: State, atol: float = 1e-6) -> set[str]:
  """Names of the arrays of both that are not equal."""
  raw = lambda x: jax.random.key_data(x) if 'key' in str(x.dtype) else x
  return {
    name
    for name in one.keys() & two.keys()
    if not np.allclose(raw(one[name]), raw(two[name]), atol=atol, rtol=1e-5)
  }
