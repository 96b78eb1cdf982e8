"""The log of a run: its episodes, and marks of the clock.

Both agents write the same lines of JSON, with `step`, the environment steps of
all environments together, resets included:

  {"start": 0}                        a process begins at this step
  {"step": 33, "return": 4.0, "length": 32}   a training episode has ended
  {"step": 500, "seconds": 21.4}      seconds since that process began
"""

import json
import time
from pathlib import Path
from typing import Any

from dreamer_nnx.slots import CALLBACK
from experiments.learning.tasks import MARK

FILE = 'events.jsonl'
BEGAN = time.monotonic()


class Events:
  """Appends lines to a file."""

  def __init__(self, file: Path):
    self._file = file
    self._marked = None

  def start(self, step: int) -> None:
    self._marked = step // MARK
    self.write({'start': step})

  def ended(self, step: int, result: float, length: int) -> None:
    self.write({'step': step, 'return': round(result, 4), 'length': length})

  def reached(self, step: int) -> None:
    """Writes the seconds if a multiple of MARK was passed."""
    if step // MARK > self._marked:
      self._marked = step // MARK
      seconds = round(time.monotonic() - BEGAN, 3)
      self.write({'step': step, 'seconds': seconds})

  def write(self, line: dict[str, Any]) -> None:
    with self._file.open('a') as file:
      file.write(json.dumps(line) + '\n')


def read(text: str) -> list[dict[str, Any]]:
  """Reads lines; those that a later process did again are left out."""
  lines = []
  for line in map(json.loads, text.splitlines()):
    if 'start' in line:
      lines = [x for x in lines if x.get('step', 0) <= line['start']]
    lines.append(line)
  return lines


@CALLBACK.register('episodes')
class Episodes:
  """Writes the events of a run of the agent here.

  Args:
    file: Where to.
  """

  def __init__(self, *, file: str = 'events.jsonl'):
    self._events, self._file = None, Path(file)

  def stepped(self, trainer, step, finished):
    steps = trainer.env_steps
    if self._events is None:
      self._file.parent.mkdir(parents=True, exist_ok=True)
      self._events = Events(self._file)
      self._events.start(steps - len(step['reward']))
    for episode in finished:
      self._events.ended(steps, episode['return'], int(episode['length']))
    self._events.reached(steps)
