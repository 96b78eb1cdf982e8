"""How far training is: a live line on a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

# Seconds between two looks at the counters.
PERIOD = 0.25


class Sample(NamedTuple):
  """The counters at a time in seconds."""

  time: float
  env_steps: int
  updates: int


class Progress:
  """Shows counters, the last return, speeds and the time left.

  On a terminal one line is redrawn up to four times a second; elsewhere a
  line is printed every `interval` seconds. Use it as a context manager, or
  close it. What `print` or the standard output is given appears above.

  Args:
    total_steps: Environment steps at which training ends.
    console: Where to draw; the standard output where none is given.
    interval: Seconds between two plain lines.
    window: Seconds that the speeds, and so the time left, look back.
    clock: Seconds from any origin, never going back.
  """

  def __init__(
    self,
    total_steps: int,
    console: Console | None = None,
    *,
    interval: float = 30.0,
    window: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._total = total_steps
    self._console = console or Console()
    self._interval = interval
    self._window = window
    self._clock = clock
    self._score: float | None = None
    self._latest = (0, 0)
    self._samples: deque[Sample] = deque()
    self._next_look = self._next_line = float('-inf')
    self._live: Live | None = None
    self._closed = False
    self._shown = ''

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def update(
    self, env_steps: int, updates: int, score: float | None = None
  ) -> None:
    """Notes the counters and, where one finished, an episode's return."""
    self._latest = env_steps, updates
    if score is not None:
      self._score = score
    now = self._clock()
    if now < self._next_look or self._closed:
      return
    self._next_look = now + PERIOD
    self._look(now)
    if self._console.is_terminal:
      self._draw()
    elif now >= self._next_line:
      self._next_line = now + self._interval
      self._say()

  def print(self, text: str) -> None:
    """Prints text as it is, above the live line where there is one."""
    self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def close(self) -> None:
    """Shows the last counters and lets go of the terminal."""
    if self._closed:
      return
    self._closed = True
    if self._samples:
      self._look(self._clock())
      if self._console.is_terminal:
        self._draw()
      elif self.line() != self._shown:
        self._say()
    if self._live is not None:
      self._live.stop()

  def line(self) -> str:
    """The counters as of the last look, as text."""
    if not self._samples:
      return 'starting'
    last = self._samples[-1]
    speed, training = self.speeds()
    share = last.env_steps / max(1, self._total)
    score = '-' if self._score is None else f'{self._score:.4g}'
    return '  '.join(
      (
        f'{last.env_steps:,}/{self._total:,} env steps ({share:.0%})',
        f'{last.updates:,} updates',
        f'return {score}',
        f'{_rate(speed)} env steps/s',
        f'{_rate(training)} updates/s',
        f'{_duration(self.seconds_left())} left',
      )
    )

  def speeds(self) -> tuple[float, float]:
    """Recent environment steps and updates a second, 0 while unknown."""
    if len(self._samples) < 2:
      return 0.0, 0.0
    first, last = self._samples[0], self._samples[-1]
    seconds = last.time - first.time
    steps = (last.env_steps - first.env_steps) / seconds
    return steps, (last.updates - first.updates) / seconds

  def seconds_left(self) -> float:
    """At the recent speed; infinite while that is 0."""
    left = self._total - self._samples[-1].env_steps if self._samples else 1
    speed = self.speeds()[0]
    if left <= 0:
      return 0.0
    return left / speed if speed > 0 else float('inf')

  def _look(self, now: float) -> None:
    """Samples the counters; keeps one sample from before the window."""
    samples = self._samples
    if samples and samples[-1].time >= now:
      samples.pop()
    samples.append(Sample(now, *self._latest))
    while len(samples) > 2 and samples[1].time <= now - self._window:
      samples.popleft()

  def _draw(self) -> None:
    if self._live is None:
      # Drawn when there is news; a thread that redraws costs training time.
      self._live = Live(console=self._console, auto_refresh=False)
      self._live.start()
    self._live.update(self._row(), refresh=True)

  def _row(self) -> Table:
    done = self._samples[-1].env_steps
    row = Table.grid(padding=(0, 1))
    row.add_column(width=12)
    # Wraps on a narrow terminal, where the time left would be cut off.
    row.add_column()
    bar = ProgressBar(total=max(1, self._total), completed=done, width=12)
    row.add_row(bar, Text(self.line()))
    return row

  def _say(self) -> None:
    self._shown = self.line()
    self.print(self._shown)


def _rate(value: float) -> str:
  return f'{value:,.0f}' if value >= 10 else f'{value:.2g}'


def _duration(seconds: float) -> str:
  """`5d 3h`, `3:25:45` or `25:45`; `?` of an infinite time."""
  if seconds == float('inf'):
    return '?'
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  if hours >= 48:
    return f'{hours // 24}d {hours % 24}h'
  if hours:
    return f'{hours}:{minute:02}:{second:02}'
  return f'{minute}:{second:02}'
