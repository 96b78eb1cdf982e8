"""Rules that steps of environments keep, for checks of any kind.

A rule yields what breaks it, as a `Finding` or as a promise and what came.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.spacetypes import Space

Step = Mapping[str, np.ndarray]

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
KEPT = 'It is kept as it is.'
BEGINS = '`reset` returns first steps'
FOLLOWS = 'the step after `is_last`, and no other, is `is_first`'
NOTHING_FIRST = 'a first step has reward 0'
TERMINAL = 'a terminal step is a last one'
GOES_ON = 'environments go on from a state that was saved'
AS_JSON = 'a state can be written as JSON'


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that breaks the contract of environments, or seems to.

  Args:
    level: `error` for what ends a run or falsifies what the agent learns from,
      `warning` for what may be meant, `note` for what is only said.
    about: Names the rule and its place; it is reported once.
    what: Says what was seen.
    remedy: Says what to do.
  """

  level: str
  about: str
  what: str
  remedy: str = ''

  def __str__(self) -> str:
    return f'{self.level}: {self.what}{self.remedy and " " + self.remedy}'


def broken_flags(before: Step, now: Step) -> Iterator[tuple[str, str]]:
  """Promises about flags and rewards that a step breaks, and what came.

  Args:
    before: The step before, (W,) arrays.
  """
  ended, begins = before['is_last'], now['is_first']
  if not np.array_equal(ended, begins):
    yield FOLLOWS, f'{ended}, {begins}'
  reward = now['reward'][begins]
  if reward.any():
    yield NOTHING_FIRST, f'{reward}'
  if (now['is_terminal'] & ~now['is_last']).any():
    yield TERMINAL, ''


def outside(space: Space, value: np.ndarray) -> tuple[float, np.ndarray] | None:
  """A number of (W, ...) floats beyond their space, and which of W have any."""
  if not value.size or value.dtype.kind != 'f':
    return None
  slack = 1e-4 * (1 + np.abs(value))
  wrong = (value < space.low - slack) | (value > space.high + slack)
  if not wrong.any():
    return None
  return value[wrong].flat[0], wrong.reshape(len(wrong), -1).any(1)


def as_json(state: Any) -> tuple[Any, str]:
  """A state of environments as it is saved, and why it cannot be, if so."""
  try:
    return json.loads(json.dumps(state, allow_nan=False)), ''
  except (TypeError, ValueError) as error:
    return None, str(error)


def same(a: Step, b: Step) -> bool:
  """Tells whether two steps are equal, but for what is only logged."""
  keys = [k for k in a if not k.startswith(spaces.LOG)]
  return all(np.array_equal(a[k], b[k], equal_nan=True) for k in keys)
