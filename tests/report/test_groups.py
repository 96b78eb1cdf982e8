"""Which runs are repetitions of each other, and what they are called."""

from dreamer_nnx.report import groups, runs
from tests.report import made


def groups_of(tmp_path, *settings):
  workdirs = [
    made.write(tmp_path / f'run_{i}', made.lines(2), None, config)
    for i, config in enumerate(settings)
  ]
  return groups.make(runs.read_all(workdirs))


def names(found):
  return [[run.name for run in group.runs] for group in found]


def test_runs_that_differ_in_the_seed_are_a_group(tmp_path):
  found = groups_of(tmp_path, *(made.config(seed=i) for i in (2, 0, 1)))
  assert names(found) == [['run_1', 'run_2', 'run_0']]
  assert found[0].name == '3 seeds of run'


def test_groups_are_named_after_what_differs(tmp_path):
  settings = [
    made.config(seed=seed, optimizer__dreamer__lr=lr)
    for lr in (1e-3, 4e-5)
    for seed in (0, 1)
  ]
  found = groups_of(tmp_path, *settings)
  assert names(found) == [['run_0', 'run_1'], ['run_2', 'run_3']]
  assert [group.name for group in found] == ['lr=0.001', 'lr=4e-05']


def test_fields_that_only_some_have_come_last(tmp_path):
  other = made.config(env__name='track')
  del other['env']['gymnasium']
  other['env']['track'] = {'size': 64}
  found = groups_of(tmp_path, made.config(), other)
  assert [g.name for g in found] == ['env.name=gymnasium', 'env.name=track']


def test_fields_that_end_alike_are_told_apart(tmp_path):
  settings = []
  for units in (1, 2):
    config = made.config()
    config |= {'reward': {'units': units}, 'cont': {'units': 3 - units}}
    settings.append(config)
  found = groups_of(tmp_path, *settings)
  assert [g.name for g in found] == ['reward.units=1', 'reward.units=2']


def test_a_value_that_names_the_workdir_is_no_difference(tmp_path):
  settings = [
    made.config(seed=i) | {'file': f'/runs/run_{i}/events.jsonl'}
    for i in range(2)
  ]
  assert len(groups_of(tmp_path, *settings)) == 1
  # As a part of another name it is one.
  settings = [made.config() | {'file': f'/a/xrun_{i}/b'} for i in range(2)]
  assert len(groups_of(tmp_path, *settings)) == 2


def test_names_are_told_apart_and_short(tmp_path):
  long = [made.config(env__gymnasium__id='x' * 200 + str(i)) for i in range(3)]
  found = [group.name for group in groups_of(tmp_path, *long)]
  assert len(set(found)) == 3 and max(map(len, found)) < 80


def test_runs_without_a_config_stay_apart(tmp_path):
  found = groups_of(tmp_path, None, None)
  assert names(found) == [['run_0'], ['run_1']]
  assert [group.name for group in found] == ['run_0', 'run_1']


def test_a_seed_that_is_there_twice_is_said(tmp_path):
  (group,) = groups_of(tmp_path, made.config(seed=3), made.config(seed=3))
  (text,) = groups.seed_problems(group)
  assert '2 runs have seed 3' in text
