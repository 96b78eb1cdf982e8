"""Numbers of a log by name, read line by line."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dreamer_nnx import paths
from dreamer_nnx.report.curves import Curve
from dreamer_nnx.report.lines import Lines

STEP, FRAMES = 'env_steps', 'frames'
# A line with one of these says where the run goes on: later steps are void.
STARTS = 'run/starts'
BEGINNINGS = frozenset({STARTS, 'diverged/rewinds'})
# More names, and longer ones, are not of a log of ours.
NAMES, LONGEST = 2_000, 200
# How often a run may have gone back to an earlier step.
RETURNS = 1_000
# Lines of which something is said one by one.
TOLD = 20
LARGEST = 2**53
# A magnitude that counts as not finite: sums of it would not be.
HUGE = 1e200


class Spoilt(NamedTuple):
  """Values that were not finite: on how many lines, and the first step."""

  lines: int
  step: int


class Log:
  """Curves by metric. Lines that a run repeated hold as it wrote them last.

  Attributes:
    curves: Name to curve, of finite numbers.
    spoilt: Names of which values were not finite.
    told: The last (step, name, value) of what is no curve: `diverged/*`.
    lines: How many were read and are whole.
    last: Step of the last one.
    damaged: Lines without a step, or that are no JSON, or too long.
    refused: Values that are no numbers, or of too many or too long names.
    returns: How often the run went back to an earlier step.
  """

  def __init__(self) -> None:
    self.curves: dict[str, Curve] = {}
    self.spoilt: dict[str, Spoilt] = {}
    self.told: list[tuple[int, str, float]] = []
    self.lines = self.last = self.damaged = self.refused = self.returns = 0

  def add(self, line: Mapping[str, Any]) -> None:
    """Adds a line; counts it as damaged if it has no step."""
    step = line.get(STEP)
    if type(step) is not int or not 0 <= step < LARGEST:
      self.damaged += 1
      return
    # Its own step holds where it goes on, and is repeated elsewhere.
    void = step if BEGINNINGS.isdisjoint(line) else step + 1
    if step < self.last and not self._go_back(void):
      return
    self.lines, self.last = self.lines + 1, step
    for name, value in line.items():
      kind = type(value)
      if kind is float or kind is int:
        self._put(step, name, value)
      elif value is None:
        self._spoil(step, name)
      else:
        self.refused += 1

  def _go_back(self, step: int) -> bool:
    if self.returns >= RETURNS:
      self.damaged += 1
      return False
    self.returns += 1
    for curve in self.curves.values():
      curve.cut(step)
    return True

  def _put(self, step: int, name: str, value: float) -> None:
    if not -HUGE < value < HUGE:
      self._spoil(step, name)
    elif name in self.curves:
      self.curves[name].add(step, value)
    elif name.startswith('diverged/'):
      self.told = [*self.told[-TOLD:], (step, name[:LONGEST], float(value))]
    elif name not in (STEP, STARTS) and self._known(name):
      self.curves[name] = Curve()
      self.curves[name].add(step, value)

  def _spoil(self, step: int, name: str) -> None:
    if name in self.spoilt:
      before = self.spoilt[name]
      self.spoilt[name] = Spoilt(before.lines + 1, min(before.step, step))
    elif self._known(name):
      self.spoilt[name] = Spoilt(1, step)

  def _known(self, name: str) -> bool:
    """Tells whether there is room for a new name."""
    many = max(len(self.curves), len(self.spoilt)) >= NAMES
    self.refused += (wrong := many or len(name) > LONGEST)
    return not wrong


def read(path: paths.Path) -> Log:
  """Reads a log.

  Raises:
    OSError: It cannot be read.
  """
  log, lines = Log(), Lines(path)
  for line in lines:
    log.add(line)
  log.damaged += lines.damaged
  # A run that went back may have left nothing of one.
  log.curves = {name: x for name, x in log.curves.items() if x.count}
  return log
