"""Distributions over sequences of actions.

Letters: W rows, H steps of a plan, P plans drawn for each row, E elites.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import contracts, spaces, streams
from dreamer_nnx.nn.vectors import concat_vectors
from dreamer_nnx.numerics import outputs, sampling
from dreamer_nnx.spacetypes import Space

Array = jax.Array
Actions = dict[str, Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Plan:
  """Independent steps (W, H, ...): normals, or classes of discrete actions.

  Args:
    center: Means; logits (W, H, Σ classes) of discrete actions.
    width: Deviations of the normals.
  """

  center: dict[str, Array]
  width: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Planner:
  """Draws plans, and fits them to the best.

  Args:
    lowest: Lower bound of deviations.
  """

  action_space: Mapping[str, Space]
  lowest: float

  def fresh(self, rows: int, length: int) -> Plan:
    """Makes plans of standard normals, and of classes that are alike."""
    sizes = {
      key: (sum(spaces.classes(s)),) if spaces.is_discrete(s) else s.shape
      for key, s in self.action_space.items()
    }
    center = {k: jnp.zeros((rows, length, *size)) for k, size in sizes.items()}
    return Plan(center, jax.tree.map(jnp.ones_like, center))

  def draw(self, plan: Plan, count: int, key: Array) -> Actions:
    """Draws `count` sequences of each row, (W P, H, ...), within [-1, 1]."""
    actions = {}
    for name, space in self.action_space.items():
      own = streams.at(key, name)
      # (W, H, ...) to (W P, H, ...).
      center, width = (
        jnp.repeat(x[name], count, 0) for x in (plan.center, plan.width)
      )
      if spaces.is_discrete(space):
        actions[name] = classes(space, center).sample(own)
      else:
        actions[name] = jnp.clip(sampling.normal(own, center, width), -1, 1)
    return actions

  def likely(self, plan: Plan) -> Actions:
    """Returns the means, and the most likely classes."""
    return {
      name: classes(space, plan.center[name]).pred()
      if spaces.is_discrete(space)
      else plan.center[name]
      for name, space in self.action_space.items()
    }

  def fit(self, actions: Actions, best: Array) -> Plan:
    """Fits plans to the elites (W, E) of actions (W P, H, ...)."""
    center, width = {}, {}
    for name, space in self.action_space.items():
      x = actions[name]
      if spaces.is_discrete(space):
        x = concat_vectors({name: space}, {name: x}, dtype=jnp.float32)
      # (W P, H, ...) to (W, P, H, ...), at (W, E) to (W, E, H, ...).
      x = x.reshape(len(best), -1, *x.shape[1:])
      x = jax.vmap(lambda rows, index: rows[index])(x, best)
      center[name], width[name] = x.mean(1), jnp.maximum(x.std(1), self.lowest)
      if spaces.is_discrete(space):
        # A class that no elite has is not lost for ever.
        center[name] = jnp.log(center[name] + 0.1 / best.shape[1])
    return Plan(center, width)


def masked(plan: Plan, masks: Mapping[str, Array]) -> Plan:
  """Excludes what is not allowed (W, Σ classes) at the first step."""
  center = dict(plan.center)
  for name, mask in masks.items():
    allowed = jnp.where(mask.any(-1, keepdims=True), mask, True)
    first = jnp.where(allowed, center[name][:, 0], outputs.EXCLUDED)
    center[name] = center[name].at[:, 0].set(first)
  return Plan(center, plan.width)


def shifted(plan: Plan, fresh: Plan) -> Plan:
  """Moves plans on by one step; the last one is as in `fresh`."""
  move = lambda x, new: jnp.concatenate([x[:, 1:], new[:, -1:]], 1)
  return Plan(jax.tree.map(move, plan.center, fresh.center), fresh.width)


def restarted(plan: Plan, fresh: Plan, first: Array) -> Plan:
  """Takes fresh plans where an episode begins, (W,)."""
  # (W,) to (W, 1, ..., 1).
  rows = lambda x: first.reshape(-1, *[1] * (x.ndim - 1))
  pick = lambda x, new: jnp.where(rows(x), new, x)
  return jax.tree.map(pick, plan, fresh)


def classes(space: Space, logits: Array) -> contracts.Output:
  """A distribution over a discrete space, of logits (..., Σ classes)."""
  bounds = np.cumsum(spaces.classes(space))[:-1]
  parts = [outputs.Categorical(x) for x in jnp.split(logits, bounds, -1)]
  if not space.shape:
    return parts[0]
  return outputs.MultiCategorical(tuple(parts), tuple(space.shape))
