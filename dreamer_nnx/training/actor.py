"""The running episodes: acting, and moving the environments."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dreamer_nnx import contracts, streams
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import processes
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.step import Learner


@dataclasses.dataclass
class Actor:
  """The running episodes: last observations, and the policy's carry.

  Args:
    seed: Seed of the whole run.
  """

  envs: contracts.VectorEnv
  learner: Learner
  seed: int
  obs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  carry: dict = dataclasses.field(default_factory=dict)
  action: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    self.key = streams.key(self.seed, Stream.ACT, processes.index())

  def start(self) -> None:
    """Begins new episodes."""
    self.obs = self.envs.reset()
    self.carry = self.learner.initial(self.envs.num_envs)

  def act(self, acting: State, count: int) -> dict[str, np.ndarray]:
    """Acts once; returns the step to remember, which holds the action."""
    inputs = {k: v for k, v in self.obs.items() if not k.startswith('log/')}
    self.carry, action, kept = self.learner.policy(
      acting, self.carry, inputs, self.key, count
    )
    self.action, kept = jax.device_get((action, kept))
    return self.obs | self.action | kept

  def move(self) -> None:
    """Takes the action last acted in the environments."""
    self.obs = self.envs.step(self.action)

  def paused(self) -> None:
    """Tells environments with a pace that what follows is not their delay."""
    getattr(self.envs, 'paused', lambda: None)()

  def stats(self) -> dict[str, float]:
    """Returns the metrics of the environments."""
    return self.envs.stats()

  def state(self) -> dict | None:
    """Returns the state of the environments, JSON-able, if they have one."""
    return self.envs.state()

  def arrays(self) -> dict[str, np.ndarray]:
    """Returns the arrays that an exact resume needs, by name."""
    carry = {'carry': jax.device_get(self.carry)}
    return flat({'obs': self.obs}) | named(carry)

  def resume(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Goes on with the episodes of `arrays`."""
    self.obs = unflat({k: x for k, x in arrays.items() if k[:4] == 'obs|'})
    self.obs = self.obs['obs']
    like = {'carry': self.learner.abstract_carry(self.envs.num_envs)}
    # Another precision computes with another format.
    cast = lambda x, like: x.astype(like.dtype)
    carry = jax.tree.map(cast, unnamed(arrays, like), like)['carry']
    self.carry = self.learner.place(carry)


def named(tree: Any) -> dict[str, np.ndarray]:
  """The leaves of a pytree by `a|b|c` names; a `|` in a name is escaped."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_name(path): x for path, x in leaves}


def unnamed(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
  """The pytree like another one, of arrays by name."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: arrays[_name(path)], like
  )


def _name(path: tuple) -> str:
  keys = [jax.tree_util.keystr((key,), simple=True) for key in path]
  return '|'.join(_escaped(key) for key in keys)


def _escaped(name: str) -> str:
  return name.replace('%', '%25').replace('|', '%7C')


def flat(tree: Mapping, prefix: str = '') -> dict[str, np.ndarray]:
  """A nested dict as one dict of `a|b|c` names; a `|` in a name is escaped."""
  result = {}
  for name, value in tree.items():
    name = prefix + _escaped(name)
    if isinstance(value, Mapping):
      result |= flat(value, f'{name}|')
    else:
      result[name] = value
  return result


def unflat(arrays: Mapping[str, np.ndarray]) -> dict:
  """The nested dict behind `a|b|c` names."""
  tree: dict = {}
  for name, value in arrays.items():
    parts = name.split('|')
    *parents, leaf = (
      part.replace('%7C', '|').replace('%25', '%') for part in parts
    )
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = value
  return tree
