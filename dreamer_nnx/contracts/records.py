"""Records that components are handed: steps, batches, dreams, the world.

Letters as in `contracts`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

Array = jax.Array
Action = dict[str, Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Observed:
  """Steps that dynamics have seen, (B, T, ...), or (B, ...) of one step.

  Args:
    feat: What heads read.
    entry: What replay stores.
    extra: What `losses` and `starts` of the same dynamics need beside it.
  """

  feat: dict[str, Array]
  entry: dict[str, Array]
  extra: dict[str, Array] = dataclasses.field(default_factory=dict)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Context:
  """Replayed steps before the trained ones, (B, C, ...), C = dynamics.context.

  Args:
    action: Actions before each step; that before the first is not known, and
      zeros.
    entry: As stored, or written back since.
  """

  tokens: Array
  action: Action
  is_first: Array
  entry: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class World:
  """The live modules of an agent, during one call.

  Never keep one on a module: it is another in the next call.
  """

  encoder: Any
  dynamics: Any
  decoder: Any
  reward: Any
  cont: Any
  behavior: Any
  objectives: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Replayed:
  """A replayed batch after `observe`, (B, T, ...).

  Args:
    steps: Every key of the batch: observations, actions, `reward`, `is_first`,
      `is_last`, `is_terminal`, `label/*`, `mask/*`, `acting/*`.
    inputs: What the encoder saw, augmented.
    before: Actions before each step, a[t-1].
    action: Actions at each step, a[t].
    tokens: (B, T, E).
    observed: Features, entries and extras of the steps.
    carry: Of the dynamics before the first step, for `starts`.
  """

  world: World
  steps: dict[str, Array]
  inputs: dict[str, Array]
  before: Action
  action: Action
  tokens: Array
  observed: Observed
  carry: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dream:
  """Imagined trajectories (N, H+1, ...), N = B * K; entry 0 is the start.

  Args:
    feat: Features of the states.
    action: Actions at the states; the last one leads nowhere.
    reward: Predicted rewards on entering each state, unscaled.
    cont: Probabilities of going on from each state.
    weight: Probabilities of getting to each state.
    mask: What the actions were masked by, see `contracts.Policy`.
    given: (N, ...) constants of each trajectory: `label/*` of its start, and
      what a behaviour adds.
  """

  feat: dict[str, Array]
  action: Action
  reward: Array
  cont: Array
  weight: Array
  mask: dict[str, Array] = dataclasses.field(default_factory=dict)
  given: dict[str, Array] = dataclasses.field(default_factory=dict)
