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
import numpy as np

from dreamer_nnx import dream_steps, paths, spaces, streams
from dreamer_nnx.dream_steps import LastState
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Lead
from dreamer_nnx.policy import MODES, check_mode
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained

Feat = dict[str, np.ndarray]


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
    arrays: Of the agent, by name.
  """

  def __init__(self, trained: Trained, seed: int = 0):
    self.trained, self._interface = trained, trained.interface
    self.obs_space = self._interface.observation
    self.action_space = self._interface.action
    layout = trained.layout
    self.arrays = trained.arrays(layout.shapes)
    self._seed, self._calls = seed, 0
    dynamics = layout.merge(self.arrays).dynamics
    self.feat_space = dict(dynamics.feat_space)
    self._observe = trained.compiled(dream_steps.observe)
    self._follow = trained.compiled(dream_steps.follow)
    self._dream = trained.compiled(dream_steps.dream, 'length', 'mode')
    self._decode = trained.compiled(dream_steps.decode)

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
      self.arrays, given, actions, begin, self._key()
    )
    end = LastState(carry, *last, lead=rows)
    return ObservedSteps(*plain((feat, *told), rows), end)

  def imagine(
    self,
    observed: ObservedSteps,
    actions: Any = None,
    *,
    length: int = 15,
    mode: str = 'sample',
    draw: int | None = None,
  ) -> ImaginedSteps:
    """Imagines what follows the last step of each row.

    Args:
      observed: Result of `observe`.
      actions: To take from there, (H, ...) or (B, H, ...) in the units of the
        environment; by default those of the agent's own policy.
      length: H, where no actions are given.
      mode: How the policy acts: `sample`, or `greedy`.
      draw: The same number draws the same states and actions; by default all
        calls differ.

    Raises:
      UserError: The actions are not of their space, or of other rows; or there
        is no such mode.
    """
    end, rows = observed.end, observed.end.lead
    key = self._key() if draw is None else self.key_of(draw)
    check_mode(mode)
    if actions is None:
      if length < 1:
        raise UserError('must be at least 1.', 'length', length)
      how = {'length': length, 'mode': MODES[mode]}
      feat, taken, told = self._dream(self.arrays, end, key, **how)
    else:
      taken, lead = self._interface.acted(actions)
      if lead[:-1] != rows or not lead:
        raise UserError(
          f'they have the leading axes {lead}; the rows are {rows}, and H '
          'steps follow.',
          'actions',
        )
      taken = jax.tree.map(lambda x: _batched(x, lead), taken)
      feat, told = self._follow(self.arrays, end, taken, key)
    feat, taken, *told = plain((feat, taken, *told), rows)
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
    arrays = plain(self._decode(self.arrays, flat), ())
    shaped = {k: x.reshape((*lead, *x.shape[1:])) for k, x in arrays.items()}
    return self._interface.native_observation(shaped)

  def key_of(self, draw: int) -> jax.Array:
    """The key of a numbered dream."""
    return streams.key(self._seed, Stream.DREAM, 0, draw)

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


def _batched(array, lead: Lead):
  """Adds an axis of one row to what has none, (T, ...)."""
  return array if len(lead) > 1 else array[None]


def plain(tree: Any, rows: Lead) -> Any:
  """Returns arrays of NumPy, without the axis of rows where there were none."""
  host = jax.tree.map(np.asarray, jax.device_get(tree))
  host = jax.tree.map(lambda x: x if rows else x[0], host)
  floats = lambda x: x.astype(np.float32) if x.dtype.kind == 'V' else x
  return jax.tree.map(floats, host)
