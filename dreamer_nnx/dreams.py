"""A trained world model, for people who study what it sees and dreams.

  observed = model.observe(obs, action)
  imagined = model.imagine(observed, length=15)
  frames = model.decode(imagined.feat)

Everything that comes out is a NumPy array, in the environment's units. Letters:
B rows, T steps, H imagined steps, n numbers of a feature.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import paths, spaces, streams
from dreamer_nnx.acting.dream import Masks, joined, open_loop
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.context import shifted
from dreamer_nnx.agent.world_model import observations
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Lead
from dreamer_nnx.numerics.outputs import value
from dreamer_nnx.policy import MODES, check_mode
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained

Feat = dict[str, np.ndarray]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LastState:
  """Ends of observed rows, for what goes on from there.

  Args:
    carry: Arrays of the dynamics, (B, ...).
    feat: Features (B, n) of the last step.
    action: Actions (B, ...) at the last step, as the agent has them.
    told: `label/*` and `mask/*` of the last step, (B, ...).
    lead: () of one row, (B,) of several.
  """

  carry: Any = dataclasses.field(repr=False)
  feat: dict[str, jax.Array] = dataclasses.field(repr=False)
  action: dict[str, jax.Array]
  told: dict[str, jax.Array]
  lead: Lead = dataclasses.field(metadata={'static': True})


@dataclasses.dataclass(frozen=True)
class ObservedSteps:
  """Observed steps, (T, ...) or (B, T, ...).

  Args:
    feat: Features of the states, by name: what heads and decoder read.
    reward: Predicted rewards on entering each state.
    cont: Probabilities of going on from each state.
    value: Expected returns; None where the behaviour has no critic.
    end: The last states, to imagine or to observe on from.
  """

  feat: Feat
  reward: np.ndarray
  cont: np.ndarray
  value: np.ndarray | None
  end: LastState


@dataclasses.dataclass(frozen=True)
class ImaginedSteps:
  """Imagined steps, (H+1, ...) or (B, H+1, ...); entry 0 is the start.

  Args:
    feat: Features of the states.
    action: Actions at the states, (H, ...), nested as the environment takes
      them: the one at t leads to t+1.
    reward: Predicted rewards on entering each state.
    cont: Probabilities of going on from each state.
    value: Expected returns; None where the behaviour has no critic.
  """

  feat: Feat
  action: Any
  reward: np.ndarray
  cont: np.ndarray
  value: np.ndarray | None


class WorldModel:
  """Observes, imagines and decodes by a trained world model.

  The first call of each shape compiles.

  Attributes:
    obs_space, action_space: Spaces of the environment itself.
    feat_space: Numbers of each feature.
  """

  def __init__(self, trained: Trained, seed: int = 0):
    self.trained, self._interface = trained, trained.interface
    self.obs_space = self._interface.observation
    self.action_space = self._interface.action
    layout = trained.layout
    self._arrays = trained.arrays(layout.shapes)
    self._seed, self._calls = seed, 0
    dynamics = layout.merge(self._arrays).dynamics
    self.feat_space = dict(dynamics.feat_space)
    self._observe = trained.compiled(_observe)
    self._follow = trained.compiled(_follow)
    self._dream = trained.compiled(_dream, 'length', 'mode')
    self._decode = trained.compiled(_decode)

  def observe(
    self,
    obs: Any,
    action: Any,
    *,
    is_first: Any = None,
    after: ObservedSteps | None = None,
  ) -> ObservedSteps:
    """Filters observed steps.

    Args:
      obs: Observations (T, ...) or (B, T, ...), as the space of the environment
        is nested, or a dict by flat key. What acting does not read may be left
        out.
      action: Actions at these steps, with the same axes in front. The last one
        does not matter, but to what is observed `after`.
      is_first: Bool (T,) or (B, T): steps that begin an episode; by default the
        first one, or none with `after`.
      after: The steps before these, of the same rows.

    Raises:
      UserError: They are not of the spaces of the environment, or their axes
        do not fit.
    """
    arrays, lead = self._interface.observed(obs, self.trained.unread)
    actions, of_actions = self._interface.acted(action)
    if not lead or lead != of_actions:
      raise UserError(
        f'observations have the leading axes {lead}, actions {of_actions}; '
        'both need (T,) or (B, T).',
        'action',
      )
    rows = lead[:-1]
    if after is not None and after.end.lead != rows:
      raise UserError(f'is of the rows {after.end.lead}, not {rows}.', 'after')
    first = np.zeros(lead, bool)
    if is_first is not None:
      first |= np.broadcast_to(np.asarray(is_first, bool), lead)
    elif after is None:
      first[..., 0] = True
    given = arrays | {'is_first': first}
    given, actions = jax.tree.map(lambda x: _batched(x, lead), (given, actions))
    begin = None if after is None else (after.end.carry, after.end.action)
    told, (carry, feat, last) = self._observe(
      self._arrays, given, actions, begin, self._key()
    )
    end = LastState(carry, *last, lead=rows)
    return ObservedSteps(*_plain((feat, *told), rows), end)

  def imagine(
    self,
    observed: ObservedSteps,
    actions: Any = None,
    *,
    length: int = 15,
    mode: str = 'sample',
  ) -> ImaginedSteps:
    """Imagines what follows the last step of each row.

    Args:
      observed: Result of `observe`.
      actions: To take from there, (H, ...) or (B, H, ...) in the units of the
        environment; by default those of the agent's own policy.
      length: H, where no actions are given.
      mode: How the policy acts: `sample`, or `greedy`.

    Raises:
      UserError: The actions are not of their space, or of other rows; or there
        is no such mode.
    """
    end, rows = observed.end, observed.end.lead
    check_mode(mode)
    if actions is None:
      if length < 1:
        raise UserError('must be at least 1.', 'length', length)
      how = {'length': length, 'mode': MODES[mode]}
      feat, taken, told = self._dream(self._arrays, end, self._key(), **how)
    else:
      taken, lead = self._interface.acted(actions)
      if lead[:-1] != rows or not lead:
        raise UserError(
          f'they have the leading axes {lead}; the rows are {rows}, and H '
          'steps follow.',
          'actions',
        )
      taken = jax.tree.map(lambda x: _batched(x, lead), taken)
      feat, told = self._follow(self._arrays, end, taken, self._key())
    feat, taken, *told = _plain((feat, taken, *told), rows)
    native = self._interface.native_action(taken)
    return ImaginedSteps(feat, native, *told)

  def decode(self, feat: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Predicts observations of features, by key.

    Args:
      feat: Features (..., n), as `ObservedSteps` and `ImaginedSteps` have them.

    Returns:
      Images (..., H, W, C) as they are observed, uint8 as a rule, and vectors
      and classes in the units of the environment; what the decoder predicts.

    Raises:
      UserError: There are other features, or of other sizes.
    """
    sizes = {key: np.shape(x)[-1:] for key, x in feat.items()}
    if sizes != {key: (n,) for key, n in self.feat_space.items()}:
      wanted = ', '.join(f'{k} (..., {n})' for k, n in self.feat_space.items())
      raise UserError(f'must be {wanted}.', 'feat')
    lead = np.shape(next(iter(feat.values())))[:-1]
    # (..., n) to (1, N, n): decoders see rows of steps.
    flat = {k: np.reshape(x, (1, -1, np.shape(x)[-1])) for k, x in feat.items()}
    arrays = _plain(self._decode(self._arrays, flat), ())
    shaped = {k: x.reshape((*lead, *x.shape[1:])) for k, x in arrays.items()}
    return self._interface.native_observation(shaped)

  def _key(self) -> jax.Array:
    self._calls += 1
    return streams.key(self._seed, Stream.DREAM, self._calls)

  def __repr__(self) -> str:
    keys = ', '.join(spaces.encoded(self._interface.obs_space))
    return f'WorldModel({self.trained}; observes {keys})'


def load_world_model(
  source: str | paths.Path,
  trust_config: bool = False,
  *,
  step: int | None = None,
  seed: int = 0,
) -> WorldModel:
  """Loads the world model of a run, with its policy.

  Args:
    source, trust_config, step: As `load_policy` takes them.
    seed: Of what is drawn: states, and actions.

  Raises:
    UserError: As `load_policy`.
  """
  return WorldModel(Trained(source, step=step, trust_config=trust_config), seed)


def _observe(agent: Agent, given, actions, begin, key):
  """Filters (B, T, ...); returns what is told of the steps, and their end."""
  dynamics, names = agent.dynamics, tuple(agent.action_space)
  if begin is None:
    empty = agent.initial(given['is_first'].shape[0])
    begin = empty['dynamics'], empty['action']
  carry, last = begin
  carry, observed = dynamics.observe(
    carry,
    agent.encoder(observations(given, names)),
    shifted(actions, last),
    given['is_first'],
    key,
  )
  ended = lambda tree: jax.tree.map(lambda x: x[:, -1], tree)
  marks = (spaces.LABEL, spaces.MASK)
  told = {k: x for k, x in given.items() if k.startswith(marks)}
  feat = observed.feat
  return _predicted(agent, feat), (
    carry,
    feat,
    (ended(feat), ended(actions), ended(told)),
  )


def _follow(agent: Agent, end: LastState, actions, key):
  """Imagines along actions (B, H, ...); the first leads to state 1."""
  feats = open_loop(agent.dynamics, end.carry, actions, key)
  feat = joined(end.feat, feats)
  return feat, _predicted(agent, feat)


def _dream(agent: Agent, end: LastState, key, *, length, mode):
  """Imagines H steps of the agent's behaviour."""
  rows = len(jax.tree.leaves(end.feat)[0])

  def step(state, key):
    carry, feat, memory, first = state
    told = _told(agent, end, feat, first) | {'is_first': first}
    action, memory, _ = agent.behavior.act(
      agent.world, carry, feat, memory, told, streams.at(key, 'act'), mode
    )
    carry, feat = agent.dynamics.predict(
      carry, action, streams.at(key, 'predict')
    )
    return (carry, feat, memory, jnp.zeros_like(first)), (feat, action)

  memory, first = agent.behavior.initial(rows), jnp.ones(rows, bool)
  start = end.carry, end.feat, memory, first
  keys = jax.random.split(key, length)
  _, (feats, actions) = jax.lax.scan(step, start, keys)
  swap = lambda x: x.swapaxes(0, 1)
  feat = joined(end.feat, jax.tree.map(swap, feats))
  return feat, jax.tree.map(swap, actions), _predicted(agent, feat)


def _told(agent: Agent, end: LastState, feat, first):
  """Labels and masks of a dream; masks are predicted after its start."""
  masks = Masks(agent.world, spaces.masks(end.told)).of(feat, {'first': first})
  masks = {spaces.MASK + k: x.astype(jnp.float32) for k, x in masks.items()}
  return spaces.labels(end.told) | masks


def _predicted(agent: Agent, feat):
  """Predicts rewards, probabilities of going on, and values if any."""
  critic = getattr(agent.behavior, 'critic', None)
  worth = critic and critic.denormalize(critic.value(feat).pred())
  return agent.reward(feat).pred(), agent.cont(feat).prob(1), worth


def _decode(agent: Agent, feat):
  """Predicts observations; images (..., H, W, C) in [0, 255]."""
  outputs = agent.decoder(feat)
  result = {}
  for key, output in outputs.items():
    result[key] = value(output)
    if spaces.is_image(agent.obs_space[key]):
      pixels = jnp.round(jnp.clip(result[key], 0, 1) * 255)
      result[key] = pixels.astype(jnp.uint8)
  return result


def _batched(array, lead: Lead):
  """Adds an axis of one row to what has none, (T, ...)."""
  return array if len(lead) > 1 else array[None]


def _plain(tree, rows: Lead):
  """Arrays of NumPy, without the axis of one row where there were no rows."""
  host = jax.tree.map(np.asarray, jax.device_get(tree))
  host = jax.tree.map(lambda x: x if rows else x[0], host)
  floats = lambda x: x.astype(np.float32) if x.dtype.kind == 'V' else x
  return jax.tree.map(floats, host)
