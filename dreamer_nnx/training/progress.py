"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dreamer_nnx.training.frames import Frames

# Seconds between two looks at the counters.
PERIOD = 0.25
# Seconds until an evaluation is long: where lines are plain it has one then.
LONG_EVALUATION = 10.0
# Columns of the bar, which terminals of fewer columns than NARROW do without.
BAR, NARROW = 12, 60
# Columns that stay free, for the `^C` that a terminal adds to the line.
MARGIN = 3
# Beginnings of phases that take minutes, and so get a plain line each.
LONG_PHASES = (
  'compiling', 'filling', 'initialising', 'restoring', 'saving the last',
  'starting',
)  # fmt: skip
# The phase before any is told.
FIRST = 'starting'
# Beginnings of phases whose speeds say nothing about those of the next one.
STAGES = ('filling', 'training')


class Sample(NamedTuple):
  """The counters at a time in seconds."""

  time: float
  env_steps: int
  updates: int


class Field(NamedTuple):
  """A part of the line; where there is no room the highest rank goes first."""

  rank: int
  text: str


class Part(NamedTuple):
  """Progress of a phase that has an end: where it began, and where it is."""

  start: float
  first: int
  done: int
  wanted: int


class Evaluation(NamedTuple):
  """An evaluation that is going on.

  Args:
    begun: Time at which its first step was done; `start` until then.
    ended: Time at which the last episode ended.
  """

  start: float
  begun: float
  ended: float
  done: int
  wanted: int
  steps: int


class Progress:
  """Shows what a run is doing: counters, the last return, speeds, time left.

  On a terminal one line is redrawn up to four times a second, and what does
  not fit its width is left out; elsewhere a line is printed every `interval`
  seconds. Use it as a context manager, or close it. What `print` or the
  standard output is given appears above.

  Args:
    total_steps: Environment steps at which training ends.
    console: Stream to draw on; by default the standard output.
    enabled: Whether anything is shown.
    hint: Advice about an evaluation in which no episode ends.
    frames: Counts frames, shown where they are not the environment steps.
    offline: Updates before the first environment step.
    interval: Seconds between two plain lines.
    window: Seconds that the speeds, and so the time left, look back.
    clock: Seconds from any origin, never going back.
  """

  def __init__(
    self,
    total_steps: int,
    console: Console | None = None,
    *,
    enabled: bool = True,
    hint: str = '',
    frames: Frames | None = None,
    offline: int = 0,
    interval: float = 30.0,
    window: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._total, self._offline = total_steps, offline
    self._console = console or Console()
    self._hint, self._frames = hint, frames or Frames()
    self._interval = interval
    self._window = window
    self._clock = clock
    self._return: float | None = None
    self._phase, self._stage = FIRST, ''
    self._part: Part | None = None
    self._evaluation: Evaluation | None = None
    self._done_before = 0
    self._latest = (0, 0)
    self._samples: deque[Sample] = deque()
    self._next_look = self._next_line = float('-inf')
    self._live: Live | None = None
    self._closed = not enabled
    self._shown = ''

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def update(
    self, env_steps: int, updates: int, episode_return: float | None = None
  ) -> None:
    """Notes the counters and, where one finished, an episode's return."""
    self._latest = env_steps, updates
    if episode_return is not None:
      self._return = episode_return
    now = self._clock()
    if now < self._next_look or self._closed:
      return
    self._next_look = now + PERIOD
    self._look(now)
    if self._drawn:
      self._draw()
    elif now >= self._next_line:
      self._next_line = now + self._interval
      self._print_line()

  def phase(self, name: str, done: int = 0, wanted: int = 0) -> None:
    """Notes what begins; empty or `training` for what the counters show.

    Args:
      done, wanted: How far it is, where that is known.
    """
    if self._closed:
      return
    same = name == self._phase and not self._evaluation
    if wanted:
      part = self._part if same else None
      start, first = part[:2] if part else (self._clock(), done)
      self._part = Part(start, first, min(done, wanted), wanted)
    if same:
      return
    self._part = self._part if wanted else None
    before, self._phase, self._evaluation = self._phase, name, None
    self._forget(before, name)
    if self._drawn:
      self._draw()
    elif name.startswith(LONG_PHASES):
      self.print(f'{name.capitalize()} ...')

  def evaluating(self, done: int, wanted: int, steps: int) -> None:
    """Notes how far an evaluation is; the next `phase` ends it."""
    if self._closed:
      return
    now = self._clock()
    if not self._evaluation:
      start = begun = ended = now
      self._done_before = 0
      self._next_look, self._next_line = now, now + LONG_EVALUATION
    else:
      start, begun, ended, before, _, moved = self._evaluation
      begun = begun if moved else now
      ended = now if done > before else ended
    self._evaluation = Evaluation(start, begun, ended, done, wanted, steps)
    if now < self._next_look:
      return
    self._next_look = now + PERIOD
    if self._drawn:
      self._draw()
    elif now >= self._next_line:
      self._next_line = now + self._interval
      self.print(self.evaluation_line())
      self._done_before = done

  def print(self, text: str) -> None:
    """Prints text as it is, above the live line where there is one."""
    self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def close(self) -> None:
    """Shows the last counters and lets go of the terminal."""
    if self._closed:
      return
    self._phase, self._part, self._evaluation = '', None, None
    if self._samples:
      self._look(self._clock())
      if self._drawn:
        self._draw()
      elif self.line() != self._shown:
        self._print_line()
    self._closed = True
    if self._live is not None:
      # A line that says nothing lasting is taken away.
      self._live.transient = not self._samples
      self._live.stop()

  def line(self, width: int | None = None) -> str:
    """The counters as of the last look, as text of at most so many columns."""
    phase = self._phase
    if self._samples and phase in (FIRST, 'training'):
      phase = ''
    if self._part:
      phase += f' ({self._part.done:,} of {self._part.wanted:,})'
    if not self._samples:
      return phase[:width]
    last = self._samples[-1]
    speed, training = self.speeds()
    done, total, unit = self._counted(last)
    percent = min(99, round(100 * done / max(1, total)))
    percent = 100 if done >= total else percent
    result = '-' if self._return is None else f'{self._return:.4g}'
    fields = [Field(1, phase)] if phase else []
    fields += [
      Field(0, f'{done:,}/{total:,} {unit} ({percent}%)'),
      Field(5, f'{last.updates:,} updates'),
      Field(2, f'return {result}'),
      Field(4, f'{_rate(speed)} env steps/s'),
      Field(6, f'{_rate(training)} updates/s'),
      Field(3, f'{_duration(self.seconds_left())} left{self._of_what()}'),
    ]
    if unit != 'env steps':
      fields = [x for x in fields if x.rank not in (2, 4, 5)]
    counted = self._frames.metrics(last.env_steps).get('frames')
    if counted not in (None, last.env_steps):
      fields.insert(-1, Field(7, f'{counted:,} frames'))
    short = f'{percent}%' + (f'  {phase}' if phase else '')
    return _joined(fields, width, '  ', short)

  def evaluation_line(self, width: int | None = None) -> str:
    """Progress of the evaluation, as text of at most so many columns."""
    start, begun, ended, done, wanted, steps = self._evaluation
    now = self._clock()
    seconds = now - start
    fields = [
      Field(0, f'Evaluating: {done:,} of {wanted:,} episodes'),
      Field(3, f'{steps:,} steps') if steps else Field(3, 'compiling'),
      Field(1, _duration(seconds)),
    ]
    if done and ended > begun:
      left = (ended - begun) * (wanted - done) / done - (now - ended)
      left = max(0.0, left)
      fields.append(Field(2, f'{_duration(left)} left'))
    if self._hint and seconds >= LONG_EVALUATION and done == self._done_before:
      fields.append(Field(4, self._hint))
    return _joined(fields, width, ', ', f'{done:,} of {wanted:,}')

  def speeds(self) -> tuple[float, float]:
    """Recent environment steps and updates a second, 0 while unknown."""
    if len(self._samples) < 2:
      return 0.0, 0.0
    first, last = self._samples[0], self._samples[-1]
    seconds = last.time - first.time
    steps = (last.env_steps - first.env_steps) / seconds
    return steps, (last.updates - first.updates) / seconds

  def seconds_left(self) -> float:
    """Seconds left at the recent speed; infinite while that is 0.

    They are those of the run, or of what comes first: a phase that has an end,
    or updates before the first environment step.
    """
    if self._part:
      start, first, done, wanted = self._part
      seconds, left = self._clock() - start, wanted - done
      speed = (done - first) / seconds if seconds > 0 else 0
    elif self._samples:
      done, total, unit = self._counted(self._samples[-1])
      left, speed = total - done, self.speeds()[unit != 'env steps']
    else:
      left, speed = 1, 0
    if left <= 0:
      return 0.0
    return left / speed if speed > 0 else float('inf')

  def _counted(self, last: Sample) -> tuple[int, int, str]:
    """Returns what is done, of how much, and the unit."""
    if last.updates < self._offline and not last.env_steps:
      return last.updates, self._offline, 'offline updates'
    return last.env_steps, self._total, 'env steps'

  def _of_what(self) -> str:
    """Names what time is left of, if it is not the run."""
    return f' of {self._phase.partition(" ")[0]}' if self._part else ''

  def _forget(self, before: str, name: str) -> None:
    """Forgets the speeds of another stage, and of what comes once."""
    new = name.startswith(STAGES) and name != self._stage
    self._stage = name if new else self._stage
    if self._samples and (new or before.startswith('compiling')):
      self._samples.clear()
      self._samples.append(Sample(self._clock(), *self._latest))

  def _look(self, now: float) -> None:
    """Samples the counters; keeps one sample from before the window."""
    samples = self._samples
    if samples and samples[-1].time >= now:
      samples.pop()
    samples.append(Sample(now, *self._latest))
    while len(samples) > 2 and samples[1].time <= now - self._window:
      samples.popleft()

  @property
  def _drawn(self) -> bool:
    """Tells whether there is a terminal in which a line can be redrawn."""
    console = self._console
    return console.is_terminal and not console.is_dumb_terminal

  def _draw(self) -> None:
    if self._live is None:
      # Drawn when there is news; a thread that redraws costs training time.
      self._live = Live(console=self._console, auto_refresh=False)
      self._live.start()
    self._live.update(self._row(), refresh=True)

  def _row(self) -> Table | Text:
    width = self._console.width - MARGIN
    if self._evaluation:
      return _text(self.evaluation_line(width))
    if not self._samples or self._console.width < NARROW:
      return _text(self.line(width))
    row = Table.grid(padding=(0, 1))
    row.add_column(width=BAR)
    row.add_column()
    done, total, _ = self._counted(self._samples[-1])
    done, total = min(done, total), max(1, total)
    bar = ProgressBar(total=total, completed=done, width=BAR)
    row.add_row(bar, _text(self.line(width - BAR - 1)))
    return row

  def _print_line(self) -> None:
    self._shown = self.line()
    self.print(self._shown)


def _text(line: str) -> Text:
  return Text(line, no_wrap=True, overflow='crop')


def _joined(
  fields: Sequence[Field], width: int | None, between: str, short: str
) -> str:
  """The fields as one line, without those for which there is no room.

  Args:
    short: Stands for the first field where even that is too long.
  """
  kept = list(fields)
  text = lambda: between.join(field.text for field in kept)
  while width is not None and len(kept) > 1 and len(text()) > width:
    kept.remove(max(kept))
  return text() if width is None or len(text()) <= width else short[:width]


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
