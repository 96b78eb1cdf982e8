"""A trained world model that is driven one step at a time.

It computes what `WorldModel.imagine` does for the same actions, with a step in
each call. Arrays are as the agent has them, (1, ...) or (1, T, ...).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import dream_steps, spaces, streams
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.world_model import observations
from dreamer_nnx.dreams import WorldModel, plain

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Frame:
  """Predictions for one state.

  Args:
    decoded: Predicted observations by key, in the environment's units.
    reward: Predicted reward on entering the state.
    cont: Probability of going on from it.
    value: Expected return; None where the behaviour has no critic.
    action: What led to it, as the agent has it; empty for the first state.
  """

  decoded: dict[str, np.ndarray]
  reward: float
  cont: float
  value: float | None
  action: dict[str, np.ndarray]


class Driver:
  """Steps a world model by given actions, or by those of its policy.

  Attributes:
    keys: Observations that the decoder predicts.
    can_look: Whether it can observe again in the middle of a dream.
  """

  def __init__(self, model: WorldModel):
    self.model, trained = model, model.trained
    self._arrays = model.arrays
    self._begin = trained.compiled(_begin)
    self._advance = trained.compiled(_advance, 'mode')
    self._look = trained.compiled(_look)
    self._state, self._count = None, 0
    self.can_look = False

  def begin(self, obs: Arrays, actions: Arrays, number: int) -> Frame:
    """Observes steps (1, T, ...) and stands at the last of them.

    Args:
      obs: With `is_first`.
      actions: At these steps; that of the last one does not matter.
      number: Of the dream: what is drawn is drawn by it.
    """
    self._key, self._count = self.model.key_of(number), 0
    self._state, told = self._begin(
      self._arrays, dict(obs), dict(actions), self._key
    )
    self.can_look = self._same_carry(dict(actions))
    return self._frame(told, {})

  def step(self, action: Arrays | None, mode: str = 'mode') -> Frame:
    """Imagines the next state.

    Args:
      action: (1, ...) by key; by default that of the policy.
      mode: How the policy acts, `mode` or `sample`.
    """
    given = self._none() if action is None else dict(action)
    self._state, told, taken = self._advance(
      self._arrays,
      self._state,
      given,
      np.bool_(action is None),
      self._key,
      self._count,
      mode=mode,
    )
    self._count += 1
    return self._frame(told, jax.device_get(taken))

  def look(self, obs: Arrays, action: Arrays, before: Any) -> Frame:
    """Observes the state that an action led to, instead of imagining it.

    Args:
      obs: One step (1, ...), with `is_first`.
      before: `state` before that action.
    """
    self._state, told = self._look(
      self._arrays, before, dict(obs), dict(action), self._key, self._count
    )
    return self._frame(told, dict(action))

  @property
  def state(self) -> Any:
    """Everything that the next step depends on."""
    return self._state

  def _none(self) -> dict[str, np.ndarray]:
    space = self.model.trained.interface.action_space
    return spaces.zeros(space, 1)

  def _same_carry(self, actions: Arrays) -> bool:
    """Tells whether dreaming hands on what observing does."""
    last = {key: x[:, -1] for key, x in actions.items()}
    after, *_ = jax.eval_shape(
      lambda state, given: self._advance(
        self._arrays, state, given, np.bool_(False), self._key, 0, mode='mode'
      ),
      self._state,
      last,
    )
    shape = lambda x: (x.shape, x.dtype)
    same = jax.tree.map(shape, (self._state['carry'], after['carry']))
    return jax.tree.structure(same[0]) == jax.tree.structure(same[1]) and (
      jax.tree.leaves(same[0]) == jax.tree.leaves(same[1])
    )

  def _frame(self, told: Any, action: Arrays) -> Frame:
    arrays, reward, cont, worth = plain(told, ())
    native = self.model.trained.interface.native_observation(arrays)
    return Frame(
      native,
      float(reward),
      float(cont),
      None if worth is None else float(worth),
      dict(action),
    )


def _begin(agent: Agent, given, actions, key):
  """Filters (1, T, ...); the state at its end, and what is told of it."""
  _, (carry, feat, (ended, _, told)) = dream_steps.observe(
    agent, given, actions, None, key
  )
  del feat
  rows = given['is_first'].shape[0]
  state = {
    'carry': carry,
    'feat': ended,
    'told': told,
    'memory': agent.behavior.initial(rows),
    'first': jnp.ones(rows, bool),
  }
  return state, _told(agent, ended)


def _advance(agent: Agent, state, given, own, key, count, *, mode):
  """Imagines one step; by the policy where `own`, else along `given`."""
  key = jax.random.fold_in(key, count)
  feat, first = state['feat'], state['first']
  told = dream_steps.told(agent, state['told'], feat, first) | {
    'is_first': first
  }
  action, memory, _ = agent.behavior.act(
    agent.world,
    state['carry'],
    feat,
    state['memory'],
    told | {'is_first': first},
    streams.at(key, 'act'),
    mode,
  )
  action = {k: jnp.where(own, x, given[k]) for k, x in action.items()}
  carry, feat = agent.dynamics.predict(state['carry'], action, key)
  state = state | {
    'carry': carry,
    'feat': feat,
    'memory': memory,
    'first': jnp.zeros_like(first),
  }
  return state, _told(agent, feat), action


def _look(agent: Agent, state, obs, action, key, count):
  """Observes one step (1, ...) after an action."""
  names = tuple(agent.action_space)
  given = {k: x[:, None] for k, x in obs.items()}
  carry, observed = agent.dynamics.observe(
    state['carry'],
    agent.encoder(observations(given, names)),
    {k: x[:, None] for k, x in action.items()},
    given['is_first'],
    jax.random.fold_in(key, count),
  )
  feat = {k: x[:, -1] for k, x in observed.feat.items()}
  marks = {k: x for k, x in obs.items() if k in state['told']}
  state = state | {
    'carry': carry,
    'feat': feat,
    'told': marks,
    'first': jnp.ones_like(state['first']),
  }
  return state, _told(agent, feat)


def _told(agent: Agent, feat):
  """Predicted observations, reward, continuation and value, (1, ...) each."""
  rows = {k: x[:, None] for k, x in feat.items()}
  told = dream_steps.decode(agent, rows), *dream_steps.predicted(agent, rows)
  return jax.tree.map(lambda x: x[:, 0], told)
