import io
import re
import sys

import pytest
from rich.console import Console

from dreamer_nnx.training.frames import Frames
from dreamer_nnx.training.progress import Progress
from tests.training.fake_clock import FakeClock


def plain(total=1000, **options):
  clock, stream = FakeClock(), io.StringIO()
  console = Console(file=stream, width=60)
  return Progress(total, console, clock=clock, **options), clock, stream


def live(total=1000, width=160, **options):
  clock, stream = FakeClock(), io.StringIO()
  console = Console(file=stream, width=width, force_terminal=True)
  return Progress(total, console, clock=clock, **options), clock, stream


def test_line_tells_counters_return_speeds_and_time_left():
  progress, clock, _ = plain(20_000)
  progress.update(2000, 40, episode_return=12.3456)
  clock.pass_by(10)
  progress.update(5000, 55)
  # 300 steps a second; the 15,000 left take 50 seconds.
  assert progress.line() == (
    '5,000/20,000 env steps (25%)  55 updates  return 12.35  '
    '300 env steps/s  1.5 updates/s  0:50 left'
  )


@pytest.mark.parametrize(('repeat', 'shown'), [(4, '  8,000 frames'), (1, '')])
def test_line_tells_frames_where_they_are_not_the_steps(repeat, shown):
  progress, _, _ = plain(20_000, frames=Frames(repeat))
  progress.update(2000, 40)
  assert progress.line() == (
    '2,000/20,000 env steps (10%)  40 updates  return -  '
    f'0 env steps/s  0 updates/s{shown}  ? left'
  )
  # Where there is no room they are left out first.
  assert 'frames' not in progress.line(90)
  assert '0 updates/s' in progress.line(90)


def test_line_before_anything_is_known():
  progress, _, _ = plain()
  assert progress.line() == 'starting'
  progress.update(0, 0)
  assert progress.line() == (
    '0/1,000 env steps (0%)  0 updates  return -  '
    '0 env steps/s  0 updates/s  ? left'
  )


def test_time_left_follows_the_recent_speed():
  progress, clock, _ = plain(100_000, window=60)
  progress.update(0, 0)
  for second in range(1, 601):
    clock.pass_by(1)
    # 10 steps a second for five minutes, then 100.
    progress.update(10 * min(second, 300) + 100 * max(0, second - 300), 0)
  assert progress.speeds() == (100.0, 0.0)
  assert progress.seconds_left() == (100_000 - 33_000) / 100


def test_speed_is_known_where_updates_are_rarer_than_the_window():
  progress, clock, _ = plain(window=60)
  for steps in (0, 100, 300):
    progress.update(steps, 0)
    clock.pass_by(100)
  assert progress.speeds() == (2.0, 0.0)


@pytest.mark.parametrize(
  ('speed', 'text'),
  [(1000, '1:40'), (10, '2:46:40'), (0.5, '2d 7h'), (0, '?')],
)
def test_form_of_the_time_left(speed, text):
  progress, clock, _ = plain(100_000 + int(10 * speed))
  progress.update(0, 0)
  clock.pass_by(10)
  progress.update(int(10 * speed), 0)
  assert progress.line().endswith(f' {text} left')


def test_nothing_is_left_at_the_end():
  progress, clock, _ = plain(1000)
  progress.update(0, 0)
  clock.pass_by(10)
  progress.update(1016, 5)
  assert progress.seconds_left() == 0.0


def test_plain_lines_come_at_the_interval():
  progress, clock, stream = plain(interval=30)
  for second in range(100):
    progress.update(second, 0)
    clock.pass_by(1)
  lines = stream.getvalue().splitlines()
  assert [line.split('/')[0] for line in lines] == ['0', '30', '60', '90']
  assert '\033' not in stream.getvalue()


def test_close_prints_the_last_counters_once():
  progress, clock, stream = plain(interval=30)
  with progress:
    progress.update(0, 0)
    clock.pass_by(0.1)
    progress.update(7, 3, episode_return=2.5)
  progress.close()
  progress.update(8, 4)
  lines = stream.getvalue().splitlines()
  assert len(lines) == 2
  assert lines[1].startswith('7/1,000 env steps (1%)  3 updates  return 2.5')


def test_close_without_an_update_prints_nothing():
  for progress, _, stream in (plain(), live()):
    progress.close()
    progress.close()
    assert stream.getvalue() == ''


def test_updates_within_a_quarter_second_cost_no_drawing():
  progress, clock, stream = live()
  progress.update(1, 1)
  size = len(stream.getvalue())
  assert size > 0
  for index in range(1000):
    progress.update(index, index)
  assert len(stream.getvalue()) == size
  clock.pass_by(0.25)
  progress.update(999, 1000)
  assert len(stream.getvalue()) > size
  progress.close()


def test_return_of_a_skipped_update_is_kept():
  progress, clock, _ = plain()
  progress.update(1, 1)
  progress.update(2, 1, episode_return=7.5)
  clock.pass_by(1)
  progress.update(3, 1)
  assert 'return 7.5' in progress.line()


def test_live_line_is_redrawn_in_place():
  progress, clock, stream = live()
  with progress:
    for steps in (100, 200, 300):
      progress.update(steps, 5)
      clock.pass_by(1)
  text = stream.getvalue()
  assert all(f'{n}/1,000 env steps' in text for n in (100, 200, 300))
  assert text.count('\n') == 1
  assert text.count('\033[2K') >= 2
  assert text.endswith('\033[?25h')


def shown(stream):
  """What stood on the terminal's line, one after another."""
  text = re.sub(r'\033\[[0-9?;]*[A-Za-z]', '\n', stream.getvalue())
  return [line for line in re.split(r'[\r\n]+', text) if line.strip()]


@pytest.mark.parametrize('width', [200, 120, 100, 80, 60, 59, 40, 20, 12])
@pytest.mark.parametrize('phase', ['', 'filling the replay'])
def test_the_live_line_fits_the_terminal(width, phase):
  progress, clock, stream = live(1_000_000, width)
  with progress:
    progress.update(123_456, 78_900, episode_return=-123.4)
    progress.phase(phase)
    clock.pass_by(1)
    progress.update(123_999, 78_990)
    bar = progress._row()
  console = Console(width=width, file=io.StringIO())
  lines = console.render_lines(bar, pad=False)
  assert len(lines) == 1
  # A column is left over, and two for `^C`.
  length = sum(len(part.text) for part in lines[0])
  assert 0 < length <= width - 3
  assert '12' in ''.join(part.text for part in lines[0])
  assert stream.getvalue().count('\n') == 1


def test_fields_are_left_out_by_importance():
  progress, clock, _ = plain(20_000)
  progress.update(2000, 40, episode_return=12.3456)
  clock.pass_by(10)
  progress.update(5000, 55)
  for width, text in (
    (86, '300 env steps/s  0:50 left'),
    (66, '5,000/20,000 env steps (25%)  return 12.35  0:50 left'),
    (45, '5,000/20,000 env steps (25%)  return 12.35'),
    (30, '5,000/20,000 env steps (25%)'),
    (10, '25%'),
  ):
    assert progress.line(width).endswith(text)
    assert len(progress.line(width)) <= width


def test_a_share_never_exceeds_the_whole():
  progress, clock, _ = live(1000)
  progress.update(999, 5)
  assert '999/1,000 env steps (99%)' in progress.line()
  clock.pass_by(1)
  progress.update(1016, 5)
  assert '1,016/1,000 env steps (100%)' in progress.line()
  progress.close()


def test_a_phase_is_shown_at_once():
  progress, _, stream = live()
  with progress:
    progress.phase('compiling the policy')
    assert shown(stream)[-1] == 'compiling the policy'
    progress.phase('filling the replay')
    progress.update(100, 5)
    assert 'filling the replay  100/1,000 env steps' in shown(stream)[-1]
    progress.phase('saving')
    assert 'saving  100/1,000 env steps' in shown(stream)[-1]
    progress.phase('training')
    assert ' 100/1,000 env steps' in shown(stream)[-1]
    assert 'training' not in stream.getvalue()


def test_nothing_starts_after_an_evaluation():
  progress, _, stream = live()
  with progress:
    progress.evaluating(1, 1, 7)
    progress.phase('')
    assert progress.line() == ''
    progress.phase('training')
    assert progress.line() == 'training'
  assert 'starting' not in stream.getvalue()


def test_long_phases_have_a_plain_line():
  progress, _, stream = plain()
  for phase in ('compiling the policy', 'compiling the policy', 'saving'):
    progress.phase(phase)
  assert stream.getvalue() == 'Compiling the policy ...\n'


def test_a_long_evaluation_says_how_far_it_is_and_what_limits_it():
  progress, clock, stream = plain(hint='config.env.custom.time_limit')
  for second in range(100):
    progress.evaluating(int(second >= 50), 2, 4 * second)
    clock.pass_by(1)
  hint = ', config.env.custom.time_limit'
  assert stream.getvalue().splitlines() == [
    f'Evaluating: 0 of 2 episodes, 40 steps, 0:10{hint}',
    f'Evaluating: 0 of 2 episodes, 160 steps, 0:40{hint}',
    'Evaluating: 1 of 2 episodes, 280 steps, 1:10, 0:29 left',
  ]


def test_time_left_of_an_evaluation_is_that_of_its_steps():
  progress, clock, _ = plain()
  progress.evaluating(0, 10, 0)
  assert progress.evaluation_line().endswith(', compiling, 0:00')
  # Compiling does not count.
  clock.pass_by(100)
  progress.evaluating(0, 10, 8)
  clock.pass_by(20)
  progress.evaluating(4, 10, 16)
  assert progress.evaluation_line().endswith(' 2:00, 0:30 left')
  clock.pass_by(10)
  progress.evaluating(4, 10, 24)
  assert progress.evaluation_line().endswith(' 2:10, 0:20 left')
  clock.pass_by(50)
  assert progress.evaluation_line().endswith(' 3:00, 0:00 left')


def test_filling_tells_how_much_of_it_is_left():
  progress, clock, _ = plain(100_000)
  for held in range(0, 600, 100):
    progress.phase('filling the replay', held, 1000)
    progress.update(2 * held, 0)
    # Between steps the phase is told without its part.
    progress.phase('filling the replay')
    clock.pass_by(1)
  assert progress.line().startswith('filling the replay (500 of 1,000)  1,000/')
  # 500 in six seconds so far.
  assert progress.line().endswith(' 0:06 left of filling')
  progress.phase('filling the replay', 1200, 1000)
  assert '(1,000 of 1,000)' in progress.line()
  assert progress.line().endswith(' 0:00 left of filling')


def test_time_left_of_training_begins_with_training():
  progress, clock, _ = plain(100_000)
  for step in range(10):
    progress.phase('filling the replay', step, 10)
    progress.update(1000 * step, 0)
    clock.pass_by(1)
  progress.phase('training')
  assert progress.line().endswith(' ? left')
  progress.phase('reporting')
  progress.phase('training')
  progress.update(9010, 5)
  clock.pass_by(10)
  progress.update(9100, 50)
  assert progress.seconds_left() == (100_000 - 9100) / (90 / 10)


def test_what_is_compiled_once_says_nothing_of_the_time_left():
  progress, clock, _ = plain(10_000)
  progress.phase('training')
  progress.update(0, 0)
  clock.pass_by(1)
  progress.update(10, 0)
  progress.phase('compiling the report')
  clock.pass_by(100)
  progress.phase('training')
  clock.pass_by(1)
  progress.update(20, 0)
  assert progress.speeds() == (10.0, 0.0)


def test_offline_updates_are_counted_and_their_time_is_told():
  progress, clock, _ = plain(50, offline=1000)
  progress.phase('training offline')
  progress.update(0, 100)
  clock.pass_by(10)
  progress.update(0, 300)
  assert progress.line() == (
    'training offline  300/1,000 offline updates (30%)  20 updates/s  0:35 left'
  )
  progress.phase('training')
  clock.pass_by(1)
  progress.update(10, 1000)
  assert progress.line().startswith('10/50 env steps (20%)  1,000 updates')


@pytest.mark.parametrize('width', [200, 100, 60, 40, 20, 12])
def test_parts_of_a_phase_fit_the_terminal(width):
  progress, _, stream = live(1_000_000, width, offline=2000)
  with progress:
    progress.phase('filling the replay', 123_456, 999_999)
    progress.update(0, 7)
    progress.phase('training offline')
  assert max(map(len, shown(stream))) <= width - 3


def test_a_short_evaluation_prints_nothing():
  progress, clock, stream = plain()
  with progress:
    for done in range(3):
      progress.evaluating(done, 2, done)
      clock.pass_by(1)
  assert stream.getvalue() == ''


@pytest.mark.parametrize('width', [120, 50, 30, 14])
def test_an_evaluation_on_a_terminal_fits_and_leaves_nothing(width):
  progress, clock, stream = live(width=width)
  with progress:
    for step in range(80):
      progress.evaluating(3, 100, 1000 * step)
      clock.pass_by(1)
  assert all('3 of 100' in line for line in shown(stream))
  assert max(map(len, shown(stream))) <= width - 3
  # The line is taken away at the end.
  assert stream.getvalue().endswith('\033[1A\033[2K')


def test_counters_follow_an_evaluation():
  progress, _, stream = live()
  with progress:
    progress.update(100, 5)
    progress.evaluating(1, 3, 7)
    assert 'Evaluating: 1 of 3 episodes, 7 steps, 0:00' in shown(stream)[-1]
    progress.phase('training')
    assert '100/1,000 env steps' in shown(stream)[-1]
  assert '100/1,000 env steps' in shown(stream)[-1]


@pytest.mark.parametrize('make', [plain, live])
def test_nothing_is_shown_where_it_is_not_enabled(make):
  progress, clock, stream = make(enabled=False)
  with progress:
    progress.phase('compiling')
    progress.update(1, 1)
    progress.evaluating(1, 2, 3)
    clock.pass_by(100)
    progress.evaluating(1, 2, 3)
  assert stream.getvalue() == ''


def test_closing_gives_the_standard_output_back():
  before = sys.stdout
  progress, _, stream = live()
  with pytest.raises(KeyboardInterrupt), progress:
    progress.update(1, 1)
    assert sys.stdout is not before
    raise KeyboardInterrupt
  assert sys.stdout is before
  assert stream.getvalue().endswith('\033[?25h')


@pytest.mark.parametrize('make', [plain, live])
def test_print_shows_text_as_it_is(make):
  progress, _, stream = make()
  text = 'saved [bold]runs/a[/bold] ' + 'x' * 200
  with progress:
    progress.update(1, 1)
    progress.print(text)
  assert text in stream.getvalue()
