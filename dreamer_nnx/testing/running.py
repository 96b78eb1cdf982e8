"""Checks of environments, loggers and callbacks."""

import tempfile
from types import SimpleNamespace
from typing import Any

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.envs import playing, rules
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.slots import CALLBACK, ENV, LOGGER
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import expect, expect_equal, promising

NUM_ENVS = 2
STEPS = 200
FLAGS = ('is_first', 'is_last', 'is_terminal')


def check_env(
  component: toys.Component,
  *,
  steps: int = STEPS,
  repeats: bool = True,
  **fields: Any,
) -> None:
  """Checks environments by random actions.

  Args:
    component: Their name, builder or choice; the other arguments are fields.
    steps: Steps to play.
    repeats: Whether the same seed gives the same episodes.

  Raises:
    Broken: They do not keep a promise.
  """
  name = toys.title(ENV, component)
  choice = toys.choice(ENV, component, fields)
  with promising(name):
    played = _play(name, Player(choice), steps)
    if repeats:
      again = _play(name, Player(choice), min(steps, 20))
      for got, want in zip(again, played, strict=False):
        expect_equal(name, got, want, 'the same seed gives the same episodes')
  ended = np.stack([step['is_last'] for step in played]).any()
  expect(name, ended, f'an episode ends within {steps} steps')


class Player:
  """Environments that are stepped by random actions."""

  def __init__(self, choice: Any):
    self.envs = make_vector_env(choice, NUM_ENVS, seed=0)
    self.turn, self.seen = 0, {}

  def reset(self) -> dict[str, np.ndarray]:
    return self._held(self.envs.reset())

  def draw(self) -> dict[str, np.ndarray]:
    self.turn += 1
    rng = np.random.default_rng(self.turn)
    masks = spaces.masks(self.seen)
    return playing.draw(self.envs.action_space, NUM_ENVS, rng, masks)

  def step(self) -> dict[str, np.ndarray]:
    return self._held(self.envs.step(self.draw()))

  def _held(self, step: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    self.seen = {k: np.array(x) for k, x in step.items()}
    return self.seen


def _play(name: str, player: Player, steps: int) -> list[dict]:
  envs = player.envs
  try:
    found = [player.reset()]
    first = found[0]['is_first']
    expect(name, first.all(), rules.BEGINS, f'{first}')
    for _ in range(steps):
      found.append(player.step())
      for promise, came in rules.broken_flags(found[-2], found[-1]):
        expect(name, False, promise, came)
    _check_state(name, player)
    return found
  finally:
    envs.close()


def _check_state(name: str, player: Player) -> None:
  """Checks that environments with a state go on from it."""
  state = player.envs.state()
  if state is None:
    return
  saved = _json(name, state)
  turn, seen = player.turn, player.seen
  want = [player.step() for _ in range(7)]
  player.envs.restore(saved)
  player.turn, player.seen = turn, seen
  for step in want:
    expect_equal(name, player.step(), step, rules.GOES_ON)


def _json(name: str, state: Any) -> Any:
  saved, why = rules.as_json(state)
  expect(name, not why, rules.AS_JSON, why)
  return saved


def check_logger(component: toys.Component, **fields: Any) -> None:
  """Checks a logger by numbers and videos, in a folder of its own.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(LOGGER, component)
  choice = toys.choice(LOGGER, component, fields)
  metrics = {
    'loss': np.float32(1.5),
    'count': 3,
    'not_finite': float('nan'),
    'video': np.zeros((4, 16, 16, 3), np.uint8),
  }
  with tempfile.TemporaryDirectory() as folder, promising(name):
    # A run that goes on opens what is there.
    for start in (0, 100):
      logger = toys.build(choice, workdir=folder)
      given = dict(metrics)
      for step in (start, start + 10):
        _call(name, '`write` takes numbers and videos', logger, step, given)
      promise = 'the metrics that it is given stay'
      expect(name, given.keys() == metrics.keys(), promise)
      _call(name, '`write` takes no metrics at all', logger, start + 20, {})
      logger.close()


def _call(name: str, promise: str, logger: Any, step: int, metrics) -> None:
  try:
    logger.write(step, metrics)
  except Exception as error:
    expect(name, False, promise, f'{type(error).__name__}: {error}')


def check_callback(
  component: toys.Component, *, trainer: Any = None, **fields: Any
) -> None:
  """Checks a callback and its state.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.
    trainer: What it is called with, if it reads more than the counters.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(CALLBACK, component)
  choice = toys.choice(CALLBACK, component, fields)
  with promising(name):
    callback, other = toys.build(choice), toys.build(choice)
  moments = [m for m in ('stepped', 'updated') if hasattr(callback, m)]
  expect(name, moments, 'it has `stepped` or `updated`')
  pair = [hasattr(callback, x) for x in ('state', 'restore')]
  expect(name, pair[0] == pair[1], 'it has `state` and `restore`, or neither')
  trainer = trainer or _trainer()
  for _ in range(3):
    if 'stepped' in moments:
      callback.stepped(trainer, _step(), ())
    if 'updated' in moments:
      callback.updated(trainer, {'loss/dyn': np.float32(1.0)})
  if not pair[0]:
    return
  state = _json(name, callback.state())
  other.restore(state)
  same = _json(name, other.state()) == state
  expect(name, same, '`restore` brings back what `state` returned')


def _step() -> dict[str, np.ndarray]:
  step = {key: np.zeros(NUM_ENVS, bool) for key in FLAGS}
  return step | {'reward': np.zeros(NUM_ENVS, np.float32)}


def _trainer() -> SimpleNamespace:
  return SimpleNamespace(
    env_steps=10,
    updates=5,
    offline_updates=0,
    number=10,
    state={},
    log=lambda metrics: None,
    stop_soon=lambda reason: None,
  )
