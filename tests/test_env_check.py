"""Environments that break a rule are named, and others are not."""

import time

import gymnasium
import numpy as np
import pytest

from dreamer_nnx import commandline, env_check, notices, overrides, testing
from dreamer_nnx import config as configs
from dreamer_nnx.envs import playing
from dreamer_nnx.envs import trial as trials
from dreamer_nnx.envs.comparing import Comparison
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.envs.probe import probed
from dreamer_nnx.envs.rules import ERROR, NOTE, WARNING
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from tests.envs import lying
from tests.launcher import arguments, finish, launch, spawn
from tests.training.fake_clock import FakeClock

STEPS = 200


def custom(name, **fields):
  return Choice(ENV, 'custom', make=f'{lying.__name__}:{name}', **fields)


def vector(name):
  return Choice(ENV, f'{lying.__name__}:{name}')


def tried(choice, steps=STEPS, num_envs=2):
  make = lambda seed: make_vector_env(choice, num_envs, seed)
  return trials.run(make, 0, steps, env_check.known(choice))


def lines(choice, **how):
  return [str(finding) for finding in tried(choice, **how).findings]


GYM = [
  ('Outside', WARNING, "'vector' of environment 0 is "),
  ('Float64', WARNING, 'observation is float64, its space float32'),
  ('Shape', ERROR, "'vector': the value has the shape (3,), its space (2,)"),
  ('Constant', WARNING, "observation 'gravity' never changes"),
  ('Classes', ERROR, '3 is not in its space Discrete(3)'),
  ('Pixels', ERROR, '260 is not in its space'),
  ('Dark', WARNING, "no pixel of the image 'image' is above 1"),
  ('Extra', WARNING, "observation 'secret' is in no space"),
  ('Nan', ERROR, "'vector' of environment 0 is nan at step 4"),
  ('InfiniteReward', ERROR, "'reward' of environment 0 is inf at step 1"),
  ('OldStep', ERROR, 'step must return 5 values'),
  ('Limit', WARNING, 'ended by a terminal at step 30, as a time limit'),
  ('Endless', WARNING, 'no episode ended within 200 steps'),
  ('Single', WARNING, 'episodes had a single step'),
  ('Ignores', WARNING, "the action 'action' seems to be ignored"),
  ('IgnoresOne', WARNING, "the action 'horn' seems to be ignored"),
  ('FixedSeed', WARNING, 'environments 0 and 1, with seeds of their own, did'),
  ('Unseeded', WARNING, 'the same seed gives other episodes'),
  ('Reused', WARNING, 'observation was changed by the next step'),
  ('Raises', ERROR, 'RuntimeError: the engine does not start'),
  ('RaisesTwice', ERROR, '2 crashes or hangs in 200 steps. The first: con'),
  ('FailsToReset', ERROR, 'OSError: no such level'),
  ('Exits', ERROR, 'SystemExit: 3'),
  ('Others', ERROR, 'must have the same spaces'),
  ('Lowest', ERROR, 'hangs in the steps of comparisons. The first: config.env'),
]
VECTORS = [
  ('NeverFirst', ERROR, 'after `is_last`, and no other, is `is_first`; not so'),
  ('OftenFirst', ERROR, 'and no other, is `is_first`; not so at step 5'),
  ('ResetNotFirst', ERROR, '`reset` returns first steps; not so at step 0'),
  ('FirstReward', ERROR, 'a first step has reward 0; not so at step 31'),
  ('TerminalNotLast', ERROR, 'a terminal step is a last one; not so at step 5'),
  ('ReusedRows', ERROR, "the array 'place' of a step was changed"),
  ('ChangesActions', ERROR, "the action 'action' of a step was changed"),
  ('Alike', WARNING, 'environments with different seeds did the same'),
  ('ForgetsState', ERROR, 'go on from a state that was saved, which is not so'),
  ('OddState', ERROR, 'a state can be written as JSON, which is not so'),
  ('VectorClass', ERROR, '3 is not in its space Discrete(3)'),
  ('VectorOutside', WARNING, "'place' of environment 0 is "),
]


def assert_named(found, level, text):
  named = [x for x in found if x.startswith(f'{level}: ') and text in x]
  assert len(named) == 1, found
  # What is wrong is told by itself.
  errors = [x for x in found if x.startswith(f'{ERROR}: ')]
  assert errors == (named if level == ERROR else [])
  # A number that no pixel has is of no pixel's format.
  assert len(found) == 1 or 'is int64, its space uint8' in found[1]


@pytest.mark.parametrize(('name', 'level', 'text'), GYM)
def test_an_environment_that_breaks_a_rule_is_named(name, level, text):
  assert_named(lines(custom(name)), level, text)


@pytest.mark.parametrize(('name', 'level', 'text'), VECTORS)
def test_so_is_a_vector_of_environments(name, level, text):
  assert_named(lines(vector(name)), level, text)


@pytest.mark.parametrize(
  'choice',
  [
    custom('Honest'),
    custom('Masked'),
    custom('Strict'),
    custom('Forced'),
    custom('OneClass'),
    custom('Numbers'),
    vector('Vector'),
    vector('StrictVector'),
    Choice(ENV, 'track'),
    Choice(ENV, 'catch'),
  ],
  ids=lambda choice: choice.values().get('make', choice.name),
)
@pytest.mark.parametrize('num_envs', [1, 2])
def test_nothing_is_found_where_nothing_is_wrong(choice, num_envs):
  trial = tried(choice, num_envs=num_envs)
  assert trial.findings == []
  assert trial.account.steps == STEPS
  assert trial.account.ends


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('Hangs', 'step has not returned for 1 seconds (step_timeout)'),
    ('Dies', 'its process died (exit code -9)'),
  ],
)
def test_workers_that_are_lost_are_named_and_all_is_played(name, text):
  choice = custom(name, workers='async', step_timeout=1.0)
  trial = tried(choice, steps=12, num_envs=1)
  (error,) = map(str, trial.findings)
  assert text in error and 'crashes or hangs in 12 steps' in error
  assert trial.account.cut == 1


@pytest.mark.parametrize(
  'options', [{'workers': 'async'}, {'control_rate': 100.0}]
)
def test_workers_in_processes_and_paced_ones_are_probed(options):
  found = lines(custom('Reused', **options), steps=20)
  assert_named(found, WARNING, 'observation was changed by the next step')


def test_whatever_is_played_keeps_the_pace():
  lying.Paced.episodes.clear()
  tried(custom('Paced', control_rate=100.0), steps=20)
  # The first, the comparisons and the probe.
  assert len(lying.Paced.episodes) >= 2 * 7 + 1
  # One step that is late makes the time to the next one shorter.
  times = [np.diff(x) for x in lying.Paced.episodes if len(x) > 4]
  assert min(map(np.median, times)) > 0.004


def test_a_breakdown_of_the_probe_alone_is_an_error():
  lying.SecondRaises.count = 0
  (error,) = tried(custom('SecondRaises'), num_envs=1).findings
  assert error.level == ERROR
  assert 'one environment by itself broke down at step 4: OSErr' in error.what


def test_what_a_worker_notices_is_told_once(capfd):
  notices.WARNED.discard('the wheel')
  (note,) = tried(custom('Notices', workers='async'), steps=20).findings
  assert note.level == NOTE and note.what.startswith('A wheel of ')
  assert capfd.readouterr().err == ''


def test_steps_that_are_too_slow_for_their_rate_are_named():
  (found,) = lines(custom('Slow', control_rate=200.0), steps=60)
  assert found.startswith('warning: ') and 'Ask for a rate of ' in found
  assert ' steps took longer than the 5 ms between two steps that cont' in found


def test_few_late_steps_are_no_matter():
  times = [0.01] * 95 + [0.03] * 5
  assert list(trials._late(times, 50.0)) == []
  assert list(trials._late([0.0209] * 100, 50.0)) == []
  (found,) = trials._late([0.01] * 94 + [0.025] * 6, 50.0)
  assert found.what.startswith('6 of 100 steps took longer than the 20 ms')
  assert found.remedy.startswith('Ask for a rate of 40 at most')


@pytest.mark.parametrize(
  ('choice', 'field', 'limit', 'sound'),
  [
    (custom('Honest'), 'config.env.custom.time_limit', 0, False),
    (Choice(ENV, 'pinpad'), 'config.env.pinpad.length', 10_000, True),
    (Choice(ENV, 'minatar'), 'config.env.minatar.length', 0, True),
    (Choice(ENV, 'atari', length=9), 'config.env.atari.length', 9, True),
    (Choice(ENV, 'dmc'), 'config.env.dmc.time_limit', 0, True),
    (Choice(ENV, 'procgen'), '', 0, True),
    (Choice(ENV, 'bsuite'), '', 0, True),
    (Choice(ENV, 'gymnasium'), 'config.env.gymnasium.time_limit', 0, False),
    (Choice(ENV, f'{__name__}:corridor'), '', 0, False),
  ],
)
def test_the_field_that_cuts_episodes_is_known(choice, field, limit, sound):
  assert env_check.known(choice) == (field, limit, sound)


def corridor(*, length: int = 5):
  """Makes one.

  Args:
    length: Places that there are.
  """


def test_what_is_known_of_the_ends_is_told():
  (found,) = lines(custom('Endless'))
  assert found.endswith(
    'Cut them by config.env.custom.time_limit, unless they go on forever.'
  )
  (found,) = lines(Choice(ENV, 'pinpad'), steps=60)
  assert found == (
    'note: no episode ended within 60 steps, as config.env.pinpad.length = '
    '10000 lets them last longer.'
  )
  (found,) = lines(vector('Forever'), steps=60)
  assert 'Cut them in the environment itself, unless' in found


@pytest.mark.parametrize(
  ('seconds', 'told'),
  [
    (0.1, []),
    (1.0, ['300 steps were taken, not 400']),
    (2.0, ['150 steps were taken', 'comparisons had 25 steps, not 50']),
    (6.0, ['50 steps were taken', "comparisons of seeds, 'action' were left"]),
  ],
)
def test_what_there_is_no_time_for_is_told(monkeypatch, seconds, told):
  clock = FakeClock()
  monkeypatch.setattr(time, 'monotonic', clock)
  monkeypatch.setattr(lying.Ticking, 'clock', clock)
  monkeypatch.setattr(lying.Ticking, 'seconds', seconds)
  begin = clock()
  found = lines(vector('Ticking'), steps=400)
  assert len(found) == len(told)
  for line, text in zip(found, told, strict=True):
    assert line.startswith(f'note: {text}') and ' 300 seconds' in line
  assert clock() - begin <= 600 + 2 * seconds


def test_few_steps_that_take_all_the_time_are_late(monkeypatch):
  monkeypatch.setattr(trials, 'SECONDS', 0.2)
  (late,) = [
    x
    for x in lines(custom('Slow', control_rate=200.0))
    if x.startswith('warning: ')
  ]
  assert ' steps took longer than the 5 ms between two steps' in late


def test_comparisons_that_become_slow_are_left_out(monkeypatch):
  clock = FakeClock()
  monkeypatch.setattr(time, 'monotonic', clock)
  made = []

  def make(seed):
    made.append(lying.Ticking(num_envs=1, seed=seed))
    made[-1].clock, made[-1].seconds = clock, 1.0 if len(made) < 5 else 10.0
    return made[-1]

  found = list(Comparison(make, 0, ['action'], 50, 300.0).found())
  assert [x.what for x in found] == [
    "comparisons of 'action' were left out, as all of them have 300 seconds."
  ]
  assert len(made) == 5 and clock() <= 1000 + 310


def test_the_probe_ends_in_time():
  envs = make_vector_env(custom('Slow'), 1, 0)
  envs.close()
  (note,) = probed(envs, 0, 1000, 0.1)
  assert note.level == NOTE and ' steps, not 1000, as there are 0.1 s' in str(
    note
  )


@pytest.mark.parametrize('choice', [custom('Strict'), vector('StrictVector')])
def test_neither_do_the_checks_for_authors_leave_masks(choice):
  testing.check_env(choice, steps=60)


def test_no_action_is_played_that_a_mask_excludes():
  space = {'action': gymnasium.spaces.MultiDiscrete([3, 2])}
  masks = {'action': np.array([[0, 1, 1, 1, 0], [0, 0, 0, 1, 1]], bool)}
  low, high = (playing.edge(space, 2, x, masks) for x in (False, True))
  assert low['action'].tolist() == [[1, 0], [0, 0]]
  assert high['action'].tolist() == [[2, 0], [2, 1]]
  rng = np.random.default_rng(0)
  drawn = [playing.draw(space, 2, rng, masks, True) for _ in range(100)]
  drawn = np.stack([x['action'] for x in drawn])
  assert {*drawn[:, 0, 0]} == {1, 2} and {*drawn[:, 0, 1]} == {0}
  assert {*drawn[:, 1, 0]} == {0, 1, 2} and {*drawn[:, 1, 1]} == {0, 1}
  assert drawn.dtype == np.int32
  free = playing.draw(space, 3, rng, None, True)['action']
  assert (free == free[0]).all()


def test_what_the_config_has_wrong_is_an_error_of_its_own():
  with pytest.raises(UserError, match="has no 'Missing'"):
    tried(custom('Missing'))


def flags(name, **changes):
  chosen = {
    'env__name': 'custom',
    'env__custom__make': f'{lying.__name__}:{name}',
  }
  argv = arguments('unused', **chosen, **changes)
  return [x for x in argv if not x.startswith('--workdir')] + [
    '--mode=check_env'
  ]


def launched(monkeypatch, name, slow=lambda *given: (), **changes):
  """Launches it; whatever the machine is doing, nothing is slow by default."""
  monkeypatch.setattr(env_check, 'slow', slow)
  monkeypatch.setattr(trials, 'STEPS', 100)
  return launch(flags(name, **changes))


def test_the_launcher_sums_up_what_it_saw(monkeypatch):
  result = launched(monkeypatch, 'Honest')
  assert (result.status, result.err) == (0, '')
  first, *_ = result.out.splitlines()
  assert first.startswith("Steps 2 of the environments 'custom' 100 times")
  assert '  vector  Box(-2.0, 2.0, (2,), float32)\nActions\n' in result.out
  assert '2 environments, 100 steps each: ' in result.out
  assert ' ended by a terminal; lengths ' in result.out
  assert 'Acting for 2 environments takes ' in result.out
  assert result.out.endswith('\nNothing was found.\n')


@pytest.mark.parametrize(
  ('name', 'status', 'line'),
  [
    ('Nan', 2, '1 error.'),
    ('Ignores', 0, '1 warning.'),
    ('Mask', 2, '1 error.'),
  ],
)
def test_only_an_error_gives_status_2(monkeypatch, name, status, line):
  result = launched(monkeypatch, name)
  assert result.status == status
  assert result.out.splitlines()[-1] == line


def test_masks_of_no_action_are_named(monkeypatch):
  out = launched(monkeypatch, 'Mask').out
  assert (
    'error: config.env: the observation mask/jump must have a number' in out
  )


def test_a_step_slower_than_acting_is_named(monkeypatch):
  monkeypatch.setattr(env_check, 'acting_seconds', lambda *given: 0.002)
  out = launched(monkeypatch, 'Slow', env_check.slow).out
  assert 'warning: a step of 2 environments takes ' in out
  assert ' ms, acting 2 ms. Step them in processes' in out


def test_acting_that_is_slower_than_the_rate_is_named(monkeypatch):
  monkeypatch.setattr(env_check, 'acting_seconds', lambda *given: 0.002)
  rate = {'env__custom__control_rate': '1000'}
  out = launched(monkeypatch, 'Honest', **rate).out
  assert 'warning: acting takes 2 ms, and control_rate = 1000 has a step' in out
  assert 'ms, acting' not in out


def test_so_is_acting_that_has_too_little_time_after_a_step(monkeypatch):
  monkeypatch.setattr(env_check, 'acting_seconds', lambda *given: 0.019)
  rate = {'env__custom__control_rate': '50'}
  out = launched(monkeypatch, 'Slow', **rate).out
  assert 'warning: acting takes 19 ms after a step of ' in out
  assert ', and control_rate = 50 has a step every 20 ms. Ask for a rate' in out


def test_a_size_that_no_encoder_takes_is_an_error(monkeypatch):
  many = {'encoder__simple__mults': '(1, 1, 1, 1)'}
  result = launched(monkeypatch, 'Dark', **many)
  assert result.status == 2
  assert 'error: no agent can be built for them: ' in result.out


def test_a_hang_in_this_process_ends_it_and_is_shown():
  process = spawn(flags('Hangs', env__custom__step_timeout=1))
  result = finish(process)
  assert result.status == 1
  assert (
    'environment 0 hangs: step has not returned for 1 seconds' in result.out
  )


def test_the_short_form_finds_the_same():
  config = overrides.load_file('demo')
  changes = {
    'env.name': 'custom',
    'env.custom.make': f'{lying.__name__}:Nan',
  }
  configs.apply(config, changes)
  (found,) = env_check.find(config)
  assert found.level == ERROR and ' is nan at step 4' in found.what


@pytest.mark.parametrize(
  'flag', ['restore', 'scratch', 'profile', 'process_id']
)
def test_flags_of_runs_are_refused(flag):
  with pytest.raises(
    UserError, match=f'--{flag}: has no effect with --mode=ch'
  ):
    commandline.check_flags('check_env', [flag], in_bucket=False)
