"""Scores at a number of frames, normalised, and of Crafter."""

import json

import numpy as np
import pytest

from dreamer_nnx.errors import UserError
from experiments.tables import scores, suites

FRAMES = np.array([100.0, 200.0, 300.0, 400.0])


def test_normalisers_cover_the_published_tasks():
  for name, suite in suites.SUITES.items():
    if suite.normalizer:
      found = scores.load_normalizer(suite.normalizer)
      assert set(suite.tasks) <= set(found['tasks']), name
      assert found['source'] and found['title']
      assert all(low < high for low, high in found['tasks'].values())


def test_human_normalised_by_hand():
  pairs = scores.load_normalizer('atari')['tasks']
  assert scores.normalize(-20.7, pairs['pong']) == 0
  assert scores.normalize(14.6, pairs['pong']) == 1
  assert scores.normalize(316.1, pairs['breakout']) == pytest.approx(
    (316.1 - 1.7) / (30.5 - 1.7)
  )


def test_numbers_of_atari_and_procgen_add_up():
  """Sums of the tables in a second source, so that no digit is another."""
  pairs = scores.load_normalizer('atari')['tasks'].values()
  assert len(pairs) == 57
  assert sum(low for low, _ in pairs) == pytest.approx(50864.9)
  assert sum(high for _, high in pairs) == pytest.approx(606494.2)
  pairs = scores.load_normalizer('procgen')['tasks'].values()
  assert len(pairs) == 16
  assert sum(low for low, _ in pairs) == pytest.approx(26.5)
  assert sum(high for _, high in pairs) == pytest.approx(284.4)


def test_published_numbers_of_tasks():
  counts = {name: len(suite.tasks) for name, suite in suites.SUITES.items()}
  assert counts['atari57'] == 57 and counts['atari100k'] == 26
  assert counts['dmc_proprio'] == 18 and counts['dmc_vision'] == 20
  assert counts['procgen'] == 16 and counts['bsuite'] == 20
  for suite in suites.SUITES.values():
    assert len(set(suite.tasks)) == len(suite.tasks)


@pytest.mark.parametrize('form', ['json', 'yaml'])
def test_normalisers_of_a_file(tmp_path, form):
  if form == 'yaml':
    pytest.importorskip('yaml', reason='pyyaml is not installed')
  file = tmp_path / f'a.{form}'
  # JSON is YAML, too.
  file.write_text(json.dumps({'atari57_gamer': {'atari_pong': [0, 2]}}))
  found = scores.load_normalizer('atari', str(file))
  assert found['tasks'] == {'pong': (0, 2)} and found['source'] == str(file)


@pytest.mark.parametrize(
  ('text', 'what'),
  [
    ('{"other": {}}', 'no group'),
    ('{"atari": {"pong": [1, 1]}}', 'two different'),
    ('{"atari": {"pong": 3}}', 'two different'),
    ('{"atari": {"pong": "12"}}', 'two different'),
    ('{"atari": {"pong": ["1", "2"]}}', 'two different'),
    ('{"atari": {"pong": {"1": 0, "2": 0}}}', 'two different'),
    ('{"atari": {"pong": [true, 2]}}', 'two different'),
    ('{"atari": {"pong": [1, 2, 3]}}', 'two different'),
    ('{"atari": {"pong": [-1e308, 1e308]}}', 'two different'),
    (f'{{"atari": {{"pong": [1, 1{"0" * 400}]}}}}', 'two different'),
    ('{"atari"', 'no JSON'),
    ('[' * 100_000, 'no JSON'),
    (b'\xff\xfe\x00abc', 'no JSON'),
    ('[]', 'must be'),
  ],
)
def test_broken_normalisers_are_said(tmp_path, text, what):
  file = tmp_path / 'a.json'
  file.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(UserError, match=what):
    scores.load_normalizer('atari', str(file))
  with pytest.raises(UserError, match='No such file'):
    scores.load_normalizer('atari', str(tmp_path / 'b.json'))


@pytest.mark.parametrize(
  'text',
  ['a: [1, : }', '[' * 100_000, b'\xff\xfe\x00abc', '!!python/name:os.x {}'],
)
def test_broken_yaml_is_said(tmp_path, text):
  pytest.importorskip('yaml', reason='pyyaml is not installed')
  file = tmp_path / 'a.yaml'
  file.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(UserError, match='is no YAML') as caught:
    scores.load_normalizer('atari', str(file))
  assert '\n' not in str(caught.value)


def test_crafter_score_by_hand():
  rates = dict.fromkeys('abc', 0.0)
  assert scores.crafter_score(rates) == 0
  assert scores.crafter_score(dict.fromkeys('ab', 1.0)) == pytest.approx(100)
  # 1 + s of 1, 4 and 2: their geometric mean is 2.
  found = scores.crafter_score({'a': 0, 'b': 0.03, 'c': 0.01})
  assert found == pytest.approx(1)


def test_success_rates_are_over_all_episodes_up_to_the_end():
  logs = {
    'crafter/episodes': np.array([4.0, 8.0, 2.0, 9.0]),
    'crafter/success/a': np.array([0.0, 25.0, 50.0, 100.0]),
    'crafter/score': np.ones(4),
  }
  counts = np.array([4.0, 4.0, 2.0, 7.0])
  rates = lambda end: scores.success_rates(logs, FRAMES, counts, end)
  assert rates(200) == {'a': 0.25}
  # Another process went on, and counted from none.
  assert rates(300) == {'a': (2 + 1) / (8 + 2)}
  assert rates(400) == {'a': (2 + 9) / (8 + 9)}
  assert rates(50) == {}
  assert scores.success_rates({}, FRAMES, counts, 400) == {}


@pytest.mark.parametrize('episodes', [2, 3, 25])
def test_success_rates_of_a_process_with_no_fewer_episodes(episodes):
  # What had ended before it was saved is in the count of the line, too.
  first = 3.0
  logs = {
    'crafter/episodes': np.array([1.0, first, episodes]),
    'crafter/success/a': np.array([100.0, 100.0, 0.0]),
  }
  counts = np.array([1.0, 2.0, episodes + 1.0])
  found = scores.success_rates(logs, FRAMES[:3], counts, 400)
  assert found == {'a': first / (first + episodes)}


def test_success_rates_where_counting_goes_on():
  logs = {
    'crafter/episodes': np.array([4.0, 8.0, 10.0]),
    'crafter/success/a': np.array([100.0, 50.0, 40.0]),
  }
  counts = np.array([4.0, 4.0, 2.0])
  assert scores.success_rates(logs, FRAMES[:3], counts, 400) == {'a': 0.4}
