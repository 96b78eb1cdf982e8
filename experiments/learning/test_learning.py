"""The page is of the logs; what these are made of."""

import dataclasses
import itertools
import json
import pathlib
import sys
import types

import numpy as np
import pytest

from dreamer_nnx import config as configs
from experiments.learning import config as runs
from experiments.learning import (
  control,
  curves,
  events,
  reference,
  results,
  run,
  sweep,
  table,
  tasks,
  update,
)
from experiments.learning.results import Result

FOUND = results.read_all()
LARGEST, TOGETHER = 20_000, 300_000
HEADER = {'seconds': 100.0, 'processor': 90.0, 'starts': 1, 'machine': {}}


def result(*episodes, evaluations=(), marks=(), **header):
  lines = [{'step': s, 'return': r, 'length': 1} for s, r in episodes]
  lines += [{'step': s, 'seconds': t} for s, t in marks]
  return Result(HEADER | header, lines, list(evaluations))


def test_page_is_of_the_logs():
  written = table.DOC.read_text('utf-8')
  assert written == table.page(FOUND), 'python -m experiments.learning.table'


def test_every_result_is_of_a_job_and_small():
  names = {job.name for job in run.jobs() + run.sweep_jobs()}
  assert FOUND.keys() <= names
  sizes = [file.stat().st_size for file in results.FOLDER.glob('*')]
  assert all(size < LARGEST for size in sizes) and sum(sizes) < TOGETHER


def test_both_agents_have_as_many_parameters():
  for task in table.drawn(FOUND):
    counts = {
      found.header['parameters']
      for agent in tasks.AGENTS
      for found in table.of(FOUND, task, agent)
    }
    assert len(counts - {0}) <= 1, task


@pytest.mark.parametrize('name', tasks.TASKS)
def test_config_has_the_settings(name):
  task, fields = tasks.TASKS[name], configs.leaves(runs.get_config(name))
  exact = {k: v for k, v in task.named(0).items() if '*' not in k}
  assert len(exact) > 10
  assert exact.items() <= fields.items()
  assert fields['reward.units'] == fields['encoder.simple.units'] == 128


@pytest.mark.parametrize('name', sweep.SETTINGS)
def test_settings_of_the_sweep_fit(name):
  fields = configs.leaves(runs.get_config(f'sweep.{name}'))
  assert sweep.SETTINGS[name].items() <= fields.items()


def test_sweep_is_small():
  assert len(sweep.SETTINGS) <= 12
  assert set(sweep.CHOSEN) <= sweep.SETTINGS.keys()


def test_bins_without_episodes_have_the_mean_before():
  steps = 10 * curves.BINS
  found = result((15, 2.0), (16, 4.0), (35, 9.0), (steps, 7.0))
  expected = [3, 3, 3] + [9] * (curves.BINS - 4) + [7]
  assert curves.binned(found, steps).tolist() == expected
  assert curves.area(found, steps) == np.mean(expected)


def test_final_is_of_the_last_tenth():
  found = result((50, 1.0), (80, 5.0), (90, 3.0), (91, 4.0), (100, 8.0))
  assert curves.final(found, 100) == 6.0
  assert curves.final(found, 100, curves.LATE) == 5.0


def test_training_is_timed_after_compiling():
  marks = [(500, 60.0), (1_000, 70.0), (1_500, 72.0), (2_000, 76.0)]
  assert curves.training_seconds(result(marks=marks)) == 6.0


def test_last_evaluations():
  found = result(evaluations=[(i, float(i)) for i in range(20)])
  assert curves.last_evaluations(found) == 14.5


def test_table_tells_the_agents_apart():
  found = {
    results.name_of('track', agent, seed): result(
      (8_000, value + seed),
      marks=[(1_000, 0.0), (2_000, 1.0 + seconds)],
      seconds=seconds,
    )
    for (agent, value, seconds), seed in itertools.product(
      [('ours', 30.0, 50.0), ('reference', 20.0, 100.0)], tasks.SEEDS
    )
  }
  page = table.page(found)
  assert '| dreamer_nnx | 3 | 31.0 ± 0.6 | 31.0 ± 0.6 | 50 | 51.0 |' in page
  assert '+10.0 ± 0.8 | +10.0 ± 0.8 | 1.48 | 0.50 | 0.50 | 1.00 |' in page
  assert '![track](learning_track.svg)' in page


def test_times_that_are_not_comparable_are_left_out():
  fast = {'machine': {'cores': 2, 'boot': 'fast'}}
  interrupted, shared = result(seconds=7.0, starts=2), result(seconds=101.0)
  found = {
    'ours': [result(), interrupted, shared, result(**fast)],
    'reference': [result(), result(seconds=9.0)],
  }
  fair = table.comparable(found)
  assert table.wall(fair['ours']) == [100.0]
  assert table.wall(fair['reference']) == [100.0, 9.0]
  found['reference'] = [result(seconds=3.0, starts=2, **fast)]
  assert table.comparable(found) == {'ours': [], 'reference': []}


def test_events(tmp_path, monkeypatch):
  monkeypatch.setattr(events, 'BEGAN', 100.0)
  monkeypatch.setattr(events.time, 'monotonic', lambda: 112.5)
  log = events.Events(tmp_path / 'events')
  log.start(0)
  for step in range(4, 1_004, 4):
    log.reached(step)
  log.ended(900, 3.0, 7)
  lines = events.read((tmp_path / 'events').read_text())
  assert lines == [
    {'start': 0},
    {'step': 500, 'seconds': 12.5},
    {'step': 1_000, 'seconds': 12.5},
    {'step': 900, 'return': 3.0, 'length': 7},
  ]


def test_what_a_later_process_did_again_is_left_out():
  lines = [{'start': 0}, {'step': 5, 'return': 1}, {'step': 9, 'return': 2}]
  lines += [{'start': 5}, {'step': 9, 'return': 3}]
  read = events.read('\n'.join(map(json.dumps, lines)))
  assert read == [lines[0], lines[1], lines[3], lines[4]]


def test_callback_writes_the_episodes(tmp_path):
  file = tmp_path / 'a' / 'events'
  callback = events.Episodes(file=str(file))
  trainer = type('Trainer', (), {'env_steps': 498})
  step = {'reward': np.zeros(2)}
  callback.stepped(trainer, step, [])
  trainer.env_steps = 500
  callback.stepped(
    trainer, {'reward': np.zeros(2)}, [{'return': 2, 'length': 3}]
  )
  start, episode, mark = events.read(file.read_text())
  assert start == {'start': 496}
  assert episode == {'step': 500, 'return': 2, 'length': 3}
  assert mark['step'] == 500


def space(dtype, shape=(), low=None, high=None):
  return dtype, shape


def test_reference_is_handed_whole_episodes():
  elements = types.SimpleNamespace(Space=space)
  env = reference.make_env(elements, 'track', 0, 0)
  assert env.obs_space['image'] == (np.uint8, (16, 16, 3))
  assert env.act_space == {'action': (np.int32, ()), 'reset': (bool, ())}
  action = {'action': np.int32(1), 'reset': np.array(True)}
  steps = [env.step(action) for _ in range(34)]
  assert steps[0].keys() == env.obs_space.keys()
  assert steps[0]['image'].shape == (16, 16, 3)
  assert [i for i, x in enumerate(steps) if x['is_first']] == [0, 33]
  assert [i for i, x in enumerate(steps) if x['is_last']] == [32]
  assert not any(x['is_terminal'] for x in steps)


def test_environments_of_the_reference_differ():
  elements = types.SimpleNamespace(Space=space)
  first = [
    reference.make_env(elements, 'cartpole', seed, index).step({})['vector']
    for seed, index in ((0, 0), (0, 0), (0, 1), (1, 0))
  ]
  same = [np.array_equal(first[0], other) for other in first]
  assert same == [True, True, False, False]


def test_episodes_of_the_reference_count_actions(tmp_path):
  log = events.Events(tmp_path / 'events')
  numbers = (5, 'episode/score', 2.0), (5, 'episode/length', 4), (5, 'fps', 1)
  reference.log(log, numbers)
  line = {'step': 5, 'return': 2.0, 'length': 3}
  assert events.read((tmp_path / 'events').read_text()) == [line]


def test_control_cuts_episodes_and_never_ends_them():
  pytest.importorskip('dm_control')
  env = control.make('cartpole', 'swingup', seed=0)
  first, _ = env.reset(seed=3)
  again, _ = env.reset(seed=3)
  assert all(np.array_equal(first[k], again[k]) for k in first)
  assert env.observation_space.contains(first)
  action = np.zeros(1, np.float32)
  steps = [env.step(action) for _ in range(1_000)]
  assert [x[3] for x in steps] == [False] * 999 + [True]
  assert not any(x[2] for x in steps)


JOB = run.Job('track', 'ours', 0)
SCRIPT = """
import json, pathlib, sys
workdir = pathlib.Path(sys.argv[1])
workdir.mkdir(exist_ok=True)
lines = {'start': 0}, {'step': 33, 'return': 4.0, 'length': 32}
text = chr(10).join(map(json.dumps, lines))
(workdir / 'events.jsonl').write_text(text)
(workdir / 'metrics.jsonl').write_text(json.dumps({'train/opt/param_count': 7}))
line = {'env_steps': 40, 'policy': 'trained, greedy', 'eval/return': 5.0}
text = chr(10).join([json.dumps(line)] * 2)
(workdir / 'evaluations.jsonl').write_text(text)
"""


@dataclasses.dataclass(frozen=True)
class Fake(run.Job):
  script: str = SCRIPT

  def command(self, checkout, workdir):
    return [sys.executable, '-c', self.script, str(workdir)]


@pytest.fixture
def queue(tmp_path):
  return run.Queue('', tmp_path / 'runs', tmp_path / 'results')


def test_queue_packs_what_is_missing(queue):
  job = Fake('track', 'ours', 0)
  assert queue.make([job]) == 0
  found = results.read_all(queue.results)['track_ours_0']
  assert found.episodes == ([33], [4.0])
  assert found.evaluations == [(40, 5.0)]
  header = found.header
  assert header['starts'] == 1 and header['parameters'] == 7
  assert header['processor'] > 0 and 0 < header['seconds'] < 60
  assert queue.make([dataclasses.replace(job, script='1 / 0')]) == 0


def test_queue_goes_on_after_a_failure(queue):
  bad = Fake('track', 'reference', 0, script='1 / 0')
  assert queue.make([bad, Fake('track', 'ours', 0)]) == 1
  assert [x.name for x in queue.results.iterdir()] == ['track_ours_0.jsonl.xz']


def test_reference_starts_anew(queue):
  job = Fake('track', 'reference', 0)
  (queue.runs / job.name).mkdir(parents=True)
  (queue.runs / job.name / 'left').touch()
  (queue.runs / f'{job.name}.times').write_text('{"seconds": 1e6}')
  assert queue.make([job]) == 0
  assert not (queue.runs / job.name / 'left').exists()


def test_run_of_another_queue_is_left_to_it(queue):
  queue.runs.mkdir()
  with queue.alone(JOB) as alone, queue.alone(JOB) as again:
    assert alone and not again
  with queue.alone(JOB) as alone:
    assert alone


@pytest.mark.parametrize(
  ('task', 'mode', 'cache'),
  [('track', 'train', ''), ('sweep.base', 'train_and_evaluate', '/runs/xla')],
)
def test_only_settings_of_the_sweep_are_evaluated(task, mode, cache):
  command = run.Job(task, 'ours', 0).command('', pathlib.Path('/runs/a'))
  assert f'--mode={mode}' in command
  assert f'--compilation_cache={cache}' in command


def test_agents_alternate_and_more_seeds_come_last():
  found = run.jobs()
  assert [job.agent for job in found] == list(tasks.AGENTS) * (len(found) // 2)
  first = [job.seed in tasks.SEEDS for job in found]
  assert first == sorted(first, reverse=True)
  assert sum(first) == 6 * len(tasks.TASKS)
  assert len({job.name for job in found}) == len(found)


class Drawn:
  """Updates of one number, and of two parameters, by random draws."""

  def __init__(self, change, seed, loss=0.0):
    self._change, self._loss = np.array(change), loss
    self._rng = np.random.default_rng(seed)

  def update(self, batch, draw):
    noise = self._rng.normal(0, 0.1)
    loss = batch['x'] + self._loss + noise
    return {'loss': loss}, {'kernel': self._change + noise}

  def start(self, draw):
    return draw

  def step(self, state, batch):
    logged, _ = self.update(batch, state)
    return state + 1, logged | {'count': float(state)}


def test_updates_in_a_row_are_compared_in_parts():
  batches = [{'x': 1.0}] * 100
  lines = list(update.in_a_row(Drawn([1], 0), Drawn([1], 1, 0.2), batches))
  assert [line for line in lines if line.startswith('updates')] == [
    'updates 1 to 25',
    'updates 38 to 62',
    'updates 76 to 100',
  ]
  losses = [line.split() for line in lines if line.startswith('loss')]
  assert all(float(score) < -5 for *_, score in losses)
  counts = [line.split() for line in lines if line.startswith('count')]
  # Of six runs, which begin with their numbers, 0 to 5.
  means = [2.5 + begin + 12 for begin in (0, 37, 75)]
  assert [float(mean) for _, mean, *_ in counts] == means


def compared(change, loss=0.0):
  batches = [{'x': 1.0}, {'x': 5.0}, {'x': 9.0}]
  agents = Drawn([1, 2], 0), Drawn(change, 1, loss)
  lines = update.compare(*agents, batches)
  score, cosine = (float(line.split()[-1]) for line in lines)
  return score, cosine


def test_updates_from_one_state_are_compared_in_their_means():
  score, cosine = compared([1, 2])
  assert abs(score) < 3 and cosine > 0.999
  # The batches differ by more than that, which counts for nothing.
  assert compared([1, 2], loss=0.2)[0] < -5
  assert compared([2, -1])[1] < 0.1
