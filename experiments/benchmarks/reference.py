"""danijar/dreamerv3 at the same sizes, over the same problems.

Needs a checkout of it, at e3f0224, and what it imports: ninjax, elements,
granular, portal, scope, einops, jaxtyping, colored_traceback, tqdm and
ruamel.yaml.
"""

import functools
import os
import pathlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import numpy as np
from gymnasium import spaces as gym_spaces

from experiments.benchmarks.problem import KINDS


class Reference:
  """The agent of a checkout, float32 on a CPU and bfloat16 elsewhere.

  What it runs on is read from JAX_PLATFORMS, for the agent sets flags of XLA
  that count only before the first device is seen; a CPU where that is not set.

  Args:
    path: The checkout.
    size: One of `config.SIZES`.
    kind: One of `problem.KINDS`.
    settings: Of its config, by dotted name.
  """

  def __init__(self, path: str, size: str, kind: str, settings: Mapping = {}):
    elements, presets = load(path)
    from dreamerv3.agent import Agent

    config = elements.Config(presets['defaults'])
    config = config.update(presets[f'size{size}'])
    platform = os.environ.get('JAX_PLATFORMS', 'cpu')
    dtype = 'float32' if platform == 'cpu' else 'bfloat16'
    config = config.update({'jax.platform': platform, 'logdir': '/tmp'})
    # Two agents share a device.
    config = config.update({'jax.compute_dtype': dtype, 'jax.prealloc': False})
    config = config.update(settings)
    self.config = elements.Config(
      **config.agent,
      jax=config.jax | {'precompile': False, 'profiler': False},
      **{k: config[k] for k in PASSED},
    )
    observed, acted = KINDS[kind]
    convert = functools.partial(space, elements)
    flags = ('is_first', 'is_last', 'is_terminal')
    self.obs_space = {k: convert(v) for k, v in observed.items()}
    self.obs_space |= {k: elements.Space(bool) for k in flags}
    self.obs_space['reward'] = elements.Space(np.float32)
    self.act_space = {k: convert(v) for k, v in acted.items()}
    self.agent = Agent(self.obs_space, self.act_space, self.config)

  @functools.cached_property
  def batch(self) -> dict[str, np.ndarray]:
    """(B, 1 + T, ...) random numbers in the right ranges."""
    rows = (self.config.batch_size, 1 + self.config.batch_length)
    rng = np.random.default_rng(0)
    return {k: _random(rng, k, s, rows) for k, s in self.agent.spaces.items()}

  def start(self) -> None:
    """Makes the carries, and a batch on the device."""
    agent = self.agent
    self.carry = agent.init_train(self.config.batch_size)
    self.acting = agent.init_policy(1)
    self.data = jax.device_put(self.batch, agent.train_sharded)
    self.data['seed'] = agent._seeds(0, agent.train_mirrored)
    self.obs = {k: self.batch[k][:1, 0] for k in self.obs_space}

  def update(self) -> object:
    """One update; what it computes, for waiting."""
    self.carry, *_ = self.agent.train(self.carry, dict(self.data))
    return self.agent.params

  def act(self) -> object:
    """One call of the policy for one environment, results on the host."""
    self.acting, action, latent = self.agent.policy(self.acting, self.obs)
    return action, latent

  def lower(self, device):
    """Lowers its update for another device, from abstract values."""
    import ninjax

    here = jax.sharding.SingleDeviceSharding(device)
    place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here)
    seed = self.agent._seeds(0, self.agent.train_mirrored)
    carry = self.agent.init_train(self.config.batch_size)
    update = ninjax.pure(self.agent.model.train)
    step = lambda params, seed, carry, batch: update(
      params, carry, batch, seed=seed
    )
    args = jax.tree.map(place, (self.agent.params, seed, carry, self.batch))
    return jax.jit(step, donate_argnums=0).lower(*args)


PASSED = ('logdir', 'seed', 'batch_size', 'batch_length', 'replay_context')
PASSED += ('report_length', 'replica', 'replicas')


def load(path: str) -> tuple[ModuleType, dict[str, Any]]:
  """Makes a checkout importable.

  Returns:
    The module `elements`, and the contents of its configs.yaml.
  """
  sys.path.insert(0, path)
  jax.jit = _with_positions(jax.jit)
  import elements
  import ruamel.yaml

  file = pathlib.Path(path) / 'dreamerv3' / 'configs.yaml'
  presets = ruamel.yaml.YAML(typ='safe').load(file.read_text())
  return elements, presets


def _with_positions(jit):
  """jax.jit that also takes its old positional arguments."""
  names = ('in_shardings', 'out_shardings', 'static_argnums')
  names += ('static_argnames', 'donate_argnums')

  @functools.wraps(jit)
  def wrapped(fun, *args, **kwargs):
    return jit(fun, **dict(zip(names, args, strict=False)), **kwargs)

  return wrapped


def space(elements: ModuleType, found: gym_spaces.Space) -> Any:
  """Converts a space of gymnasium to one of the reference."""
  if isinstance(found, gym_spaces.Discrete):
    return elements.Space(np.int32, (), 0, int(found.n))
  return elements.Space(found.dtype, found.shape, found.low, found.high)


def _random(rng, name: str, space, rows: tuple[int, ...]) -> np.ndarray:
  shape = (*rows, *space.shape)
  if name == 'consec':
    values = np.zeros(shape)
  elif space.dtype == bool:
    values = rng.random(shape) < 0.01
  elif np.issubdtype(space.dtype, np.integer):
    values = rng.integers(space.low, space.high, shape)
  else:
    values = rng.normal(size=shape)
  return values.astype(space.dtype)
