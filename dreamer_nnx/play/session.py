"""Answers to what a player asks for: JSON in, JSON out."""

import base64
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.dreams import WorldModel
from dreamer_nnx.errors import UserError
from dreamer_nnx.play.driver import Driver, Frame
from dreamer_nnx.play.moments import Moment, Moments, Step
from dreamer_nnx.spacetypes import Space

# Who chooses the action, and how its policy acts.
PLAYERS = {'person': None, 'greedy': 'mode', 'sample': 'sample'}
PLAYERS['recording'] = None
# Numbers of a vector that are shown.
MOST = 64
LIMIT = 2**31
Message = dict[str, Any]


class Session:
  """One player's dream: where it began, and where it is.

  Args:
    model: What is driven.
    moments: Where dreams begin.
  """

  def __init__(self, model: WorldModel, moments: Moments):
    self._driver, self._moments = Driver(model), moments
    self._interface = model.trained.interface
    self._numbers = itertools.count(1)
    self._moment: Moment | None = None
    self._steps, self._open, self._total = 0, False, 0.0

  def about(self) -> Message:
    """Describes the agent and its actions, for the page to begin with."""
    actions = {
      key: _described(space)
      for key, space in self._interface.action_space.items()
    }
    trained = self._driver.model.trained
    return {'agent': str(trained), 'actions': actions, 'players': list(PLAYERS)}

  def answer(self, request: Any) -> Message:
    """Does what the page asks for, and tells what is seen now.

    Args:
      request: `{'do': 'reset', 'from': 'episode'}`, or of the `replay` with
        `number` and `place`; `{'do': 'step', 'by': PLAYER, 'action': {...}}`;
        `{'do': 'eyes', 'open': bool}`.

    Raises:
      UserError: It is none of these, or cannot be done.
    """
    asked = _field(request, 'do', ('reset', 'step', 'eyes'))
    if asked == 'reset':
      return self._reset(request)
    if self._moment is None:
      raise UserError('nothing was begun yet. Reset first.', 'step')
    if asked == 'eyes':
      return self._eyes(request.get('open') is True)
    return self._step(request)

  def _reset(self, request: Mapping[str, Any]) -> Message:
    if _field(request, 'from', ('episode', 'replay')) == 'episode':
      moment = self._moments.fresh()
    else:
      number, place = _whole(request, 'number'), _whole(request, 'place')
      moment = self._moments.replayed(number, place)
    self._moment, self._steps, self._total = moment, 0, 0.0
    frame = self._driver.begin(moment.obs, moment.actions, next(self._numbers))
    told = self._told(frame, moment.last)
    return told | {'where': moment.words, 'size': moment.size}

  def _eyes(self, opened: bool) -> Message:
    if opened and not self._driver.can_look:
      raise UserError(
        'these dynamics cannot observe in the middle of a dream.', 'eyes'
      )
    self._open = opened
    return {'eyes': opened}

  def _step(self, request: Mapping[str, Any]) -> Message:
    player = _field(request, 'by', tuple(PLAYERS))
    action = self._action(player, request.get('action'))
    before = self._driver.state
    frame = self._driver.step(action, PLAYERS[player] or 'mode')
    self._steps += 1
    truth = self._moment.truth.follow(frame.action)
    if truth is not None and self._open:
      frame = self._driver.look(self._seen(truth), frame.action, before)
    self._total += frame.reward
    return self._told(frame, truth)

  def _action(self, player: str, given: Any) -> Step | None:
    if player == 'recording':
      action = self._moment.truth.recorded()
      if action is None:
        raise UserError('there is no recorded action here.', 'by', player)
      return action
    if player != 'person':
      return None
    space = self._interface.action_space
    if not isinstance(given, dict) or set(given) != set(space):
      wanted = ', '.join(space)
      raise UserError(f'must have one value for each of {wanted}.', 'action')
    return {key: _array(key, given[key], x)[None] for key, x in space.items()}

  def _seen(self, step: Step) -> Step:
    kept = {*self._interface.obs_space, 'is_first'}
    return {k: x for k, x in step.items() if k in kept}

  def _told(self, frame: Frame, truth: Step | None) -> Message:
    shown = spaces.encoded(self._interface.obs_space)
    result = {
      'step': self._steps,
      'eyes': self._open,
      'dream': {k: _shown(x) for k, x in frame.decoded.items() if k in shown},
      'reward': _number(frame.reward),
      'total': _number(self._total),
      'cont': _number(frame.cont),
      'value': _number(frame.value),
      'action': {k: _listed(x[0]) for k, x in frame.action.items()},
      'truth': None,
    }
    if truth is not None:
      arrays = {k: truth[k][0] for k in shown}
      native = self._interface.native_observation(arrays)
      result['truth'] = {
        'name': self._moment.truth.name,
        'seen': {k: _shown(x) for k, x in native.items()},
        'reward': _number(float(truth['reward'][0])),
        'last': bool(truth['is_last'][0]),
        'terminal': bool(truth['is_terminal'][0]),
      }
    return result


def _described(space: Space) -> Message:
  """Describes an action to the page."""
  if spaces.is_discrete(space):
    classes = np.ravel(spaces.classes(space)).tolist()
    return {'kind': 'classes', 'classes': classes, 'shape': list(space.shape)}
  return {
    'kind': 'numbers',
    'shape': list(space.shape),
    'low': _listed(np.maximum(space.low, -1)),
    'high': _listed(np.minimum(space.high, 1)),
  }


def _array(key: str, given: Any, space: Space) -> np.ndarray:
  """An action of the page as an array of its space."""
  try:
    numbers = np.asarray(given, np.float64)
  except (TypeError, ValueError, OverflowError):
    numbers = np.full(1, np.nan)
  if numbers.shape != space.shape or not np.isfinite(numbers).all():
    raise UserError(f'must be numbers of the shape {space.shape}.', key, given)
  if not spaces.is_discrete(space):
    return np.clip(numbers, space.low, space.high).astype(np.float32)
  classes = np.reshape(spaces.classes(space), space.shape)
  if ((numbers < 0) | (numbers >= classes) | (numbers % 1 != 0)).any():
    raise UserError('is not one of its classes.', key, given)
  return numbers.astype(spaces.data_type(space))


def _shown(value: Any) -> Message:
  """An observation for the page: an image, or numbers."""
  array = np.asarray(value)
  if array.dtype == np.uint8 and array.ndim == 3:
    height, width, channels = array.shape
    data = base64.b64encode(np.ascontiguousarray(array)).decode()
    size = {'height': height, 'width': width, 'channels': channels}
    return {'kind': 'image', 'data': data} | size
  flat = np.ravel(array)
  return {
    'kind': 'numbers',
    'values': _listed(flat[:MOST]),
    'left_out': max(0, flat.size - MOST),
  }


def _listed(array: np.ndarray) -> Any:
  return _plain(np.asarray(array).tolist())


def _plain(value: Any) -> Any:
  """Numbers as JSON has them: None in place of what is not finite."""
  if isinstance(value, list):
    return [_plain(x) for x in value]
  return _number(value) if isinstance(value, float) else value


def _number(value: float | None) -> float | None:
  return value if value is not None and math.isfinite(value) else None


def _field(request: Any, name: str, known: tuple[str, ...]) -> str:
  value = request.get(name) if isinstance(request, dict) else None
  if value not in known:
    raise UserError(f'must be one of {", ".join(known)}.', name, value)
  return value


def _whole(request: Mapping[str, Any], name: str) -> int:
  value = request.get(name, 0)
  if type(value) is not int or not 0 <= value < LIMIT:
    raise UserError('must be a whole number from 0.', name, value)
  return value
