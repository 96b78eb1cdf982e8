import json

import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.errors import UserError
from dreamer_nnx.training.changes import Changes, described
from dreamer_nnx.training.record import CheckpointError

SAVED = {
  'train': {'steps': 64, 'mults': [2, 3], 'gone': 3},
  'env': {'name': 'track', 'track': {'size': 8, 'length': 9}},
  'replay': {
    'name': 'chunked',
    'mixture': {'live': {'name': 'chunked'}, 'data': {'name': 'dataset'}},
  },
}
CONFIG = {
  'train.steps': 64,
  'train.mults': (2, 3),
  'train.new': 4,
  'env.name': 'track',
  'env.track.size': 8,
  'env.track.length': 9,
  'replay.name': 'chunked',
  'replay.mixture.live.name': 'chunked',
  'replay.mixture.data.name': 'dataset',
}
IMAGE = gs.Box(0, 255, (8, 8, 3), np.uint8)
SPACES = (
  {'image': IMAGE, 'log/x': gs.Box(0, 1)},
  {'action': gs.Discrete(3), 'more': gs.MultiDiscrete([2, 3])},
)


def changes(**fields):
  new = {name.replace('__', '.'): value for name, value in fields.items()}
  spaces = json.loads(json.dumps(described(*SPACES)))
  return Changes(40, SAVED, CONFIG | new, spaces)


def refusal(function, *args):
  with pytest.raises(UserError) as error:
    function(*args)
  return str(error.value)


def test_a_run_says_where_it_goes_on_and_what_changed():
  assert str(changes()) == 'Resumes from step 40.'
  assert str(changes(train__steps=240, train__mults=(2,))) == (
    'Resumes from step 40.\n'
    '  config.train.steps: 64 -> 240\n'
    '  config.train.mults: (2, 3) -> (2,)'
  )


def test_long_values_are_cut():
  text = str(changes(train__steps='x' * 1000))
  assert len(text.splitlines()[1]) < 120


@pytest.mark.parametrize(
  'name',
  [
    'env.name',
    'replay.name',
    'replay.mixture.live.name',
    'replay.mixture.data.name',
  ],
)
def test_environment_and_replay_stay(name):
  changed = changes(**{name.replace('.', '__'): 'other'})
  text = refusal(changed.check)
  assert text.startswith(f"config.{name} = 'other': the run was begun with '")
  assert 'Set it back' in text and '--restore' in text
  changes(train__steps=1).check()


def test_nothing_is_compared_without_a_checkpoint():
  none = Changes(config=CONFIG)
  none.check()
  none.check_spaces({}, {})
  assert not none.fields


@pytest.mark.parametrize('saved', [None, 'text', []])
def test_a_checkpoint_may_not_tell_its_spaces(saved):
  Changes(40, SAVED, CONFIG, saved).check_spaces(*SPACES)


def test_spaces_with_other_bounds_and_logs_fit():
  obs = {'image': gs.Box(0, 9, (8, 8, 3), np.uint8), 'log/y': IMAGE}
  changes().check_spaces(obs, SPACES[1])


@pytest.mark.parametrize(
  ('key', 'space', 'text'),
  [
    (
      'image',
      gs.Box(0, 1, (4, 8, 3)),
      "observation 'image' is Box(4, 8, 3) fl",
    ),
    ('other', IMAGE, "observation 'other' is Box(8, 8, 3) uint8, in the check"),
    ('action', gs.Discrete(4), "action 'action' is Discrete(4), in the checkp"),
    (
      'more',
      gs.MultiDiscrete([3, 3]),
      "action 'more' is MultiDiscrete([3, 3]",
    ),
  ],
)
def test_other_spaces_are_refused_by_path(key, space, text):
  obs, actions = map(dict, SPACES)
  (actions if key in actions else obs)[key] = space
  unchanged = refusal(changes().check_spaces, obs, actions)
  assert unchanged.startswith(f'config.env: {text}')
  assert unchanged.endswith('the environment has changed.')
  one = refusal(changes(env__track__size=16).check_spaces, obs, actions)
  assert one.startswith(f'config.env.track.size = 16: {text}')
  assert one.endswith('Set it back to 8.')
  two = changes(env__track__size=16, env__track__length=1)
  lines = refusal(two.check_spaces, obs, actions).splitlines()
  assert lines[0].startswith(f'config.env: {text}')
  assert lines[1:] == [
    '  config.env.track.size: 8 -> 16',
    '  config.env.track.length: 9 -> 1',
  ]


def failing(changed, lines):
  with changed.named():
    raise CheckpointError('\n'.join(lines))


def test_what_does_not_fit_names_the_fields_that_changed():
  lines = ['does not fit:', *(f'  a{i} is (1,)' for i in range(9)), 'Was it?']
  assert refusal(failing, changes(), lines) == '\n'.join(lines)
  assert refusal(failing, changes(train__steps=1), lines).splitlines() == [
    *lines[:4],
    '  ...',
    'Was it?',
    'Since it was saved these changed:',
    '  config.train.steps: 64 -> 1',
  ]
