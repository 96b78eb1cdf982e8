"""The table is of the logs, and has every component; how these are made."""

import functools
import json

import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx.templates import __name__ as TEMPLATES
from experiments.components import entries, games, results, run, table, timing

FOUND = results.read_all()
# What plugins of other tests register is not of the package.
BUILT_IN = [
  (slot.name, entry.name)
  for slot in table.SLOTS
  for entry in slot.entries()
  if entry.builder.__module__.startswith('dreamer_nnx.')
  and not entry.builder.__module__.startswith(TEMPLATES)
]
LARGEST = 20_000
LINE = {'env_steps': 8, 'eval/return': 1.0, 'eval/stderr': 0.5}
LINE |= {'eval/episodes': 50.0}


# A config takes a tenth of a second.
config = functools.cache(entries.config)


def test_page_is_of_the_logs():
  written = table.DOC.read_text('utf-8')
  assert written == table.page(FOUND), 'python -m experiments.components.table'


def test_every_component_has_an_entry():
  have = entries.runs().keys()
  assert set(BUILT_IN) - have == entries.WITHOUT.keys()
  assert all(entries.WITHOUT.values())


def test_every_entry_of_a_component_has_a_result():
  runs = entries.runs()
  needed = {runs[key] for key in BUILT_IN if key in runs}
  missing = needed - FOUND.keys() - entries.UNTRAINED.keys()
  assert not missing, 'python -m experiments.components.run'
  assert not entries.UNTRAINED.keys() & FOUND.keys(), 'these have results'
  assert all(entries.UNTRAINED.values())


def test_every_result_is_of_an_entry_and_small():
  names = {entry.name for entry in entries.ENTRIES}
  assert FOUND and FOUND.keys() <= names
  for name, result in FOUND.items():
    assert results.file_of(name).stat().st_size < LARGEST
    assert result.steps == entries.LENGTH['train.steps']
    assert len(result.timing['entry']) == timing.TURNS


def test_every_registered_entry_has_a_config_with_its_component():
  for entry in entries.ENTRIES:
    if not entries.absent(entry):
      fields = configs.leaves(config(entry.name))
      assert {k: fields[k] for k in entry.chosen} == entry.chosen
      assert fields['train.steps'] == entries.LENGTH['train.steps']


def test_what_is_within_another_run_is_chosen_there():
  for (slot, component), name in entries.WITHIN.items():
    if entries.absent(entries.named(name)):
      continue
    fields = configs.leaves(configs.resolve(config(name)))
    path = entries.PATHS[slot]
    names = {
      str(value)
      for key, value in fields.items()
      if key == path or (slot == 'head' and key.endswith('.name'))
    }
    assert {component, str((component,))} & names, (slot, component)


def test_updates_take_turns():
  times, order = iter([0, 1, 1, 4, 4, 6, 6, 7]), []
  calls = {name: lambda n=name: order.append(n) for name in 'ab'}
  spent = timing.in_turns(calls, 2, clock=lambda: next(times))
  assert spent == {'a': [1000, 2000], 'b': [3000, 1000]}
  assert order == ['a', 'b', 'a', 'b']


def test_slowdown_is_the_median_of_neighbours():
  times = {'entry': [2.0, 30.0, 8.0], 'default': [1.0, 10.0, 2.0]}
  result = results.Result([], [], times, {})
  assert result.slowdown == 3 and result.milliseconds == 8


@pytest.fixture
def runner(tmp_path, monkeypatch):
  """Empties the runner's folders; a function that says how its calls end."""
  monkeypatch.setattr(results, 'FOLDER', tmp_path / 'results')
  monkeypatch.setattr(entries, 'ROOT', tmp_path)
  monkeypatch.setattr(entries, 'RUNS', tmp_path / 'runs')
  called = []

  def statuses(*values):
    left = list(values)

    def call(arguments, log):
      called.append(arguments[0])
      write_logs(tmp_path / 'runs' / 'default.track', arguments[0])
      with log.with_suffix('.jsonl').open('a') as file:
        file.write('{"seconds": 2.0, "processor": 1.4}\n')
      return left.pop(0)

    monkeypatch.setattr(run, 'call', call)
    return called

  return statuses


def write_logs(workdir, module):
  """Writes what the program of a run leaves in its workdir."""
  workdir.mkdir(parents=True, exist_ok=True)
  line = lambda **fields: json.dumps(fields) + '\n'
  if module.endswith('timing'):
    (workdir / 'timing.jsonl').write_text(line(entry=[1.0]))
    return
  start = {'folder': '/here', 'command': '/bin/python', 'python': '3.11'}
  (workdir / 'config.json').write_text('{}')
  (workdir / 'run.json').write_text(json.dumps([start]))
  counts = [line(env_steps=8, **{'train/opt/param_count': 7.0}), line(a=1)]
  (workdir / 'metrics.jsonl').write_text(''.join(counts))
  played = [line(policy=p, **LINE) for p in (results.UNTRAINED, 'other')]
  trained = line(policy=results.TRAINED, **LINE | {'eval/return': 2.0})
  (workdir / 'evaluations.jsonl').write_text(''.join([*played, trained]))


def test_a_run_is_packed_once_without_folders(runner):
  called = runner(0, 0)
  assert run.run_all(['default.track']) == 0
  assert len(called) == 2
  ((name, result),) = results.read_all().items()
  assert name == 'default.track' and result.parameters == 7
  assert result.evaluation(results.TRAINED)['eval/return'] == 2
  assert result.machine['cores'] > 0 and result.steps == 8
  assert (result.machine['seconds'], result.machine['processor']) == (4, 3)
  assert b'here' not in results.without_places(b'[{"folder": "/here"}]')
  assert run.run_all(['default.track']) == 0
  assert len(called) == 2, 'its result is there'


def test_a_failed_run_has_no_result_and_is_not_trained_twice(runner):
  called = runner(0, 1, 0)
  assert run.run_all(['default.track']) == 1
  assert not results.read_all()
  assert run.run_all(['default.track']) == 0
  assert called == ['dreamer_nnx.main', *[timing.__name__] * 2]


def test_a_stopped_run_ends_the_runner(runner):
  runner(run.STOPPED)
  with pytest.raises(SystemExit):
    run.run_all(['default.track'])
  assert not results.read_all()


def test_what_is_not_registered_is_left_out(runner, monkeypatch, capsys):
  called = runner()
  entry = entries.Entry('encoder', 'absent')
  monkeypatch.setattr(entries, 'ENTRIES', (entry,))
  assert run.run_all([entry.name]) == 0
  assert not called and 'not registered' in capsys.readouterr().out


@pytest.mark.parametrize('onehot', [False, True])
def test_point_earns_most_at_its_goal(onehot):
  env = games.Point(onehot)
  obs, _ = env.reset(seed=1)
  rewards, ended = [], False
  while not ended:
    way = np.clip((obs['places'][1] - obs['places'][0]) / 0.2, -1, 1)
    action = np.eye(3)[int(np.round(way)) + 1] if onehot else way[None]
    obs, reward, _, ended, _ = env.step(action)
    rewards.append(reward)
  assert len(rewards) == games.LENGTH and min(rewards[12:]) > 0.89
