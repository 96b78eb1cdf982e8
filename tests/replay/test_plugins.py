"""Selectors by others, and the columns that they keep."""

import pathlib
import re

import numpy as np
import pytest

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.replay.weights import StartWeights
from dreamer_nnx.slots import REPLAY, SELECTOR
from tests.replay import older, seldom
from tests.replay.streams import SPACES, by_share, fill, make, same, saved

ROOT = pathlib.Path(__file__).parents[2]
SELDOM = by_share(seldom={})


def columns_of(replay):
  return replay._pool.columns


def selector_of(replay, name='seldom'):
  return replay._selectors._named[name]


def train(replay, begin, end):
  """Adds, samples and tells losses; returns the batches."""
  batches = []
  for time in range(begin, end):
    fill(replay, time, time + 1)
    if replay.ready:
      batch, handle = replay.sample()
      loss = np.sin(batch['count'][:, 1:] * (1 + time)).astype(np.float32)
      replay.update(handle, {}, {'model': loss})
      batches.append(batch)
  return batches


def weights_of(replay):
  """The weight of each start by the formula, and that drawn by."""
  selector, pool = selector_of(replay), replay._pool
  selector.weights.refresh()
  # A draw weighs what is new.
  rows = np.arange(pool.num_chunks * pool.chunk_size)
  rows = rows[pool.is_start(rows)]
  trained = pool.around(rows, 0, 1)[:, 1]
  visits = columns_of(replay)['seldom/visits'][trained]
  loss = columns_of(replay)['seldom/loss'][trained]
  expected = 1e4 * 0.7**visits + (np.abs(loss) + 0.01) ** 0.7
  return rows, expected


def frequencies(selector, rows, draws=60_000):
  """How often each of some starts is drawn, without counting these draws."""
  drawn = selector.weights.draw(np.random.default_rng(0), draws)
  counts = np.bincount(drawn, minlength=rows.max() + 1)
  assert counts.sum() == counts[rows].sum()
  return counts[rows] / draws


@pytest.mark.parametrize('until', [12, 39, 90])
def test_weights_are_those_of_the_formula(until):
  replay = make(selectors=SELDOM)
  train(replay, 0, until)
  rows, expected = weights_of(replay)
  # Also after the ring has recycled chunks.
  np.testing.assert_allclose(
    frequencies(selector_of(replay), rows),
    expected / expected.sum(),
    atol=0.01,
  )
  assert np.ptp(expected) > 100


def test_what_was_seldom_drawn_overtakes():
  selectors = by_share(seldom={'beta': 0.1, 'unseen': 0.0})
  replay = fill(make(selectors=selectors), 0, 12)
  for _ in range(40):
    replay.sample()
  visits = columns_of(replay)['seldom/visits']
  rows = np.arange(len(visits))
  # 18 starts; drawn 80 times in all, and none left out or far ahead.
  trained = replay._pool.around(rows[replay._pool.is_start(rows)], 0, 1)[:, 1]
  assert visits.sum() == visits[trained].sum() == 80
  assert visits[trained].min() >= 3 and visits[trained].max() <= 6


def test_recycled_steps_are_new():
  replay = make(selectors=SELDOM)
  train(replay, 0, 40)
  assert (columns_of(replay)['seldom/visits'] > 0).any()
  fill(replay, 40, 80)
  assert (columns_of(replay)['seldom/visits'] == 0).all()
  assert (columns_of(replay)['seldom/loss'] == 1e5).all()
  rows, expected = weights_of(replay)
  frequency = frequencies(selector_of(replay), rows)
  np.testing.assert_allclose(frequency, 1 / len(rows), atol=0.01)
  assert np.ptp(expected) == 0


@pytest.mark.parametrize('until', [9, 23, 71])
@pytest.mark.parametrize('save_latents', [True, False])
def test_draws_after_a_load_are_the_same(tmp_path, until, save_latents):
  config = {
    'selectors': by_share(uniform=0.5, seldom={}, priority=1.0),
    'online': True,
    'save_latents': save_latents,
  }
  one = make(tmp_path, **config)
  train(one, 0, until)
  index = saved(one)
  two = make(tmp_path, 9, **config)
  train(two, 0, 30)
  two.load(index)
  for name, column in columns_of(one).items():
    np.testing.assert_array_equal(columns_of(two)[name], column)
  assert selector_of(one).draws == selector_of(two).draws
  for left, right in zip(
    train(one, until, until + 60), train(two, until, until + 60), strict=True
  ):
    np.testing.assert_array_equal(left['count'], right['count'])


def test_columns_are_saved_as_of_the_save_and_only_as_far_as_they_changed(
  tmp_path,
):
  one = make(tmp_path, capacity=2000, chunk_size=50, selectors=SELDOM)
  train(one, 0, 500)
  saved(one)
  before = one.stats()['written_bytes']
  fill(one, 500, 501)
  _, handle = one.sample()
  one.update(handle, {}, {'model': np.ones((2, 3))})
  index = saved(one)
  written = one.stats()['written_bytes'] - before
  # Two new steps of 20 bytes, and six changed ones; the rest is descriptions.
  assert 0 < written < 1500
  expected = {name: x.copy() for name, x in columns_of(one).items()}
  train(one, 501, 530)
  two = make(tmp_path, capacity=2000, chunk_size=50, selectors=SELDOM)
  two.load(index)
  for name, column in expected.items():
    np.testing.assert_array_equal(columns_of(two)[name], column)


def test_columns_are_handed_over(tmp_path):
  config = {'capacity': 160, 'processes': 2, 'selectors': SELDOM}
  made = [make(tmp_path, process=i, **config) for i in (0, 1)]
  for replay in made:
    train(replay, 0, 23)
  indices = [saved(replay) for replay in made]
  whole = make(tmp_path, capacity=200, num_envs=1, selectors=SELDOM)
  whole.load_share(indices, 0, 1)
  visits = sum(columns_of(x)['seldom/visits'].sum() for x in made)
  assert columns_of(whole)['seldom/visits'].sum() == visits > 0
  rows, expected = weights_of(whole)
  np.testing.assert_allclose(
    frequencies(selector_of(whole), rows),
    expected / expected.sum(),
    atol=0.01,
  )


def test_a_selector_that_is_new_begins_with_first_values(tmp_path):
  one = make(tmp_path, selectors=by_share(uniform=1.0, priority=1.0))
  train(one, 0, 20)
  index = saved(one)
  two = make(tmp_path, selectors=SELDOM)
  two.load(index)
  assert (columns_of(two)['seldom/loss'] == 1e5).all()
  # And one that is gone leaves nothing.
  assert columns_of(two).keys() == {'seldom/visits', 'seldom/loss'}
  three = make(tmp_path, selectors=by_share(priority=1.0))
  three.load(saved(two))
  np.testing.assert_array_equal(
    columns_of(three)['priority'], columns_of(one)['priority']
  )


def test_numbers_that_are_not_finite_are_ignored():
  replay = fill(make(selectors=SELDOM), 0, 12)
  _, handle = replay.sample()
  loss = np.array([[np.nan, 1.0, np.inf], [2.0, 3.0, 4.0]])
  replay.update(handle, {}, {'model': loss, 'other': loss})
  held = columns_of(replay)['seldom/loss'][handle.rows]
  expected = np.where(np.isfinite(loss), loss, 1e5)
  if len(np.unique(handle.rows)) == 6:
    np.testing.assert_array_equal(held, expected)
  assert np.isfinite(columns_of(replay)['seldom/loss']).all()


@pytest.mark.parametrize(
  ('signals', 'text'),
  [
    ({}, r"the signal 'model', which the selector 'seldom' wants, is \(\)"),
    ({'model': np.ones((2, 4))}, r'wants, is \(2, 4\), not \(2, 3\)'),
  ],
)
def test_a_signal_that_is_wanted_must_come(signals, text):
  replay = fill(make(selectors=SELDOM), 0, 12)
  _, handle = replay.sample()
  with pytest.raises(ValueError, match=text):
    replay.update(handle, {}, signals)


class Broken:
  """Draws something else than starts."""

  wants = ()

  def __init__(self, *, share: float = 1.0, kind: str = ''):
    self.share, self.columns, self.kind = share, {}, kind

  def select(self, rng, count):
    del rng
    return {
      'late': np.full(count, 21),
      'few': np.zeros(count - 1, int),
      'negative': np.full(count, -9),
      'floats': np.zeros(count),
    }[self.kind]


@pytest.mark.parametrize('kind', ['late', 'few', 'negative', 'floats'])
def test_what_is_no_start_is_refused(kind):
  name = f'{__name__}:Broken'
  choices = Choices(SELECTOR, [Choice(SELECTOR, name, kind=kind)])
  replay = fill(make(selectors=choices), 0, 12)
  with pytest.raises(ValueError, match=f"{name}' must draw .2,. rows"):
    replay.sample()


class Twin(Broken):
  """Keeps a column of a name that another one has."""

  def __init__(self, *, share: float = 1.0, column: str = 'priority'):
    super().__init__(share=share)
    self.columns = {column: (np.dtype('O' if column == 'odd' else int), 0)}


class Lacking:
  """Has no columns."""

  wants = ()
  share = 1.0

  def select(self, rng, count):
    del rng, count


@pytest.mark.parametrize(
  ('choices', 'text'),
  [
    (
      ['priority', f'{__name__}:Twin'],
      "selectors.Twin: it keeps a column 'priority', and so does 'priority'.",
    ),
    (
      [Choice(SELECTOR, f'{__name__}:Twin', column='odd')],
      "selectors.Twin: its column 'odd' is object: columns are bool, int or",
    ),
    (['seldom'], "selectors.seldom: it needs the signal 'model', which noth"),
    (
      [f'{__name__}:Lacking'],
      "selectors.names = 'tests.replay.test_plugins:Lacking': Lacking built a "
      'Lacking without columns, which Selector promises.',
    ),
  ],
)
def test_selectors_that_cannot_work_are_refused(choices, text):
  signals = ('value',) if choices == ['seldom'] else ('model',)
  choice = Choice(REPLAY, 'chunked', selectors=Choices(SELECTOR, choices))
  with pytest.raises(UserError) as info:
    choice.at('config.replay')(
      spaces=SPACES,
      num_envs=2,
      batch_size=2,
      batch_length=3,
      directory='',
      seed=0,
      process=0,
      processes=1,
      steps=0,
      scratch='',
      context_needed=1,
      signals=signals,
    )
  assert f'config.replay.chunked.{text}' in str(info.value)
  if choices == ['seldom']:
    assert str(info.value).endswith("of this behavior: 'value'.")


def test_selectors_without_a_share_are_not_built():
  selectors = by_share(uniform=1.0, priority=0.0, seldom={'share': 0.0})
  replay = make(selectors=selectors, signals=())
  assert not columns_of(replay)
  one, two = fill(replay, 0, 30), fill(make(signals=()), 0, 30)
  assert all(same(one.sample()[0], two.sample()[0]) for _ in range(20))


def test_an_index_of_other_selectors_is_loaded(tmp_path):
  one = make(tmp_path, selectors=SELDOM)
  train(one, 0, 20)
  index = saved(one)
  assert index['selectors'] == {'seldom': {'draws': selector_of(one).draws}}
  two = make(tmp_path)
  two.load(index)
  del index['selectors']
  three = make(tmp_path, selectors=SELDOM)
  three.load(index)
  assert selector_of(three).draws == 0
  with pytest.raises(ValueError, match='no replay saves this'):
    two.load(index | {'selectors': 3})


def test_priorities_of_version_0_1_are_a_column(tmp_path):
  folder = older.extracted(older.OLDER, tmp_path) / 'priority'
  replay, index = older.replay_of(folder, 48)
  replay.load(index)
  held = columns_of(replay)['priority']
  # Powers 0.8 of losses, and infinity where none was known.
  assert np.isinf(held).any() and ((held > 0) & (held < 10)).sum() > 20
  again, _ = older.replay_of(folder, 48)
  again.load(saved(replay))
  np.testing.assert_array_equal(columns_of(again)['priority'], held)


@pytest.mark.parametrize('weight', [-1.0, np.nan])
def test_weights_are_numbers_of_at_least_0(weight):
  pool = fill(make(), 0, 12)._pool
  pool.sync()
  weights = StartWeights(pool, lambda rows: np.full(rows.shape, weight))
  with pytest.raises(ValueError, match='must be >= 0'):
    weights.draw(np.random.default_rng(0), 2)


@pytest.mark.parametrize('reach', [-1, 4])
def test_weights_depend_on_steps_of_the_window_alone(reach):
  with pytest.raises(ValueError, match=f'reach {reach} is not below 4 steps'):
    StartWeights(make()._pool, lambda rows: rows, reach)


def test_the_plugin_is_short_and_uses_nothing_private():
  with open(seldom.__file__) as file:
    text = file.read()
  assert len(text.splitlines()) < 150
  assert not re.search(r'\._[a-z]', text)


def test_the_selector_of_the_documentation_evens_out(monkeypatch):
  monkeypatch.setattr(SELECTOR, '_entries', dict(SELECTOR._entries))
  text = (ROOT / 'docs/replay.md').read_text('utf-8')
  (code,) = re.findall(r'```python\n(# unseen.py.*?)```', text, re.DOTALL)
  exec(compile(code, 'unseen.py', 'exec'), {'__name__': 'unseen'})
  spread = []
  for selectors in (by_share(unseen={'exponent': 9.0}), by_share(uniform={})):
    replay = fill(make(selectors=selectors, seed=1), 0, 40)
    counts = np.zeros(2000)
    for _ in range(400):
      batch, handle = replay.sample()
      replay.update(handle, {}, {'model': np.ones((2, 3))})
      np.add.at(counts, batch['count'][:, 0], 1)
    spread.append(counts[counts > 0].std())
  # Of 74 starts, drawn 800 times.
  assert spread[0] < spread[1] / 2
