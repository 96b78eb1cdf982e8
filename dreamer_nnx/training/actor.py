"""The running episodes: acting, and moving the environments."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from dreamer_nnx import contracts, streams
from dreamer_nnx.agent.context import LATENT
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import processes
from dreamer_nnx.training.step import Learner, State


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
    self.carry, action, latent = self.learner.policy(
      acting, self.carry, inputs, self.key, count
    )
    self.action, latent = jax.device_get((action, latent))
    kept = {LATENT + k: v.astype(np.float32) for k, v in latent.items()}
    return self.obs | self.action | kept

  def move(self) -> None:
    """Takes the action last acted in the environments."""
    self.obs = self.envs.step(self.action)

  def arrays(self) -> dict[str, np.ndarray]:
    """Returns the arrays that an exact resume needs, by name."""
    return flat({'obs': self.obs, 'carry': jax.device_get(self.carry)})

  def resume(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Goes on with the episodes of `arrays`."""
    saved = unflat(arrays)
    self.obs = saved['obs']
    like = self.learner.abstract_carry(self.envs.num_envs)
    # Another precision computes with another format.
    cast = lambda x, like: x.astype(like.dtype)
    self.carry = self.learner.place(jax.tree.map(cast, saved['carry'], like))


def flat(tree: Mapping, prefix: str = '') -> dict[str, np.ndarray]:
  """A nested dict as one dict of `a|b|c` names; a `|` in a name is escaped."""
  result = {}
  for name, value in tree.items():
    name = prefix + name.replace('%', '%25').replace('|', '%7C')
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
