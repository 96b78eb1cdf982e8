"""What is said of runs in which something is wrong, made on purpose."""

import math

import pytest

from dreamer_nnx.report import runs, verdicts
from tests.report import made

SOUND = made.lines(100)


def warnings(tmp_path, log, **changes):
  made.write(tmp_path, log, None, made.config(**changes))
  return verdicts.warnings(runs.read(tmp_path, 'x'))


def changed(**last):
  """A log whose last fifth has other values; `__` for slashes."""
  values = {name.replace('__', '/'): x for name, x in last.items()}
  return [line | (values if i >= 80 else {}) for i, line in enumerate(SOUND)]


def test_nothing_is_said_of_a_sound_run(tmp_path):
  assert warnings(tmp_path, SOUND) == []


def test_a_divergence_is_said_with_its_update(tmp_path):
  end = {'env_steps': 1001, 'diverged/update': 1234.0}
  (text,) = warnings(tmp_path, [*SOUND, end])
  assert text.startswith('The loss diverged at update 1,234:')
  assert 'environment step 1,001' in text


def test_a_run_that_went_back_says_so(tmp_path):
  log = [
    *SOUND,
    {'env_steps': 1001, 'diverged/update': 9.0},
    {'env_steps': 900, 'diverged/rewinds': 1.0},
    {'env_steps': 1010, 'episode/return': 1.0},
  ]
  one, two = warnings(tmp_path, log)
  assert 'diverged at update 9' in one and 'went back to a checkpoint' in two


def test_a_metric_that_is_not_finite_is_named(tmp_path):
  (text,) = warnings(tmp_path, changed(**{'train__opt__loss': None}))
  expected = 'train/opt/loss was not finite on 20 lines, first at step 810.'
  assert text == expected


@pytest.mark.parametrize('name', ['train/opt/loss', 'train/loss/dyn'])
def test_a_loss_that_grows_without_bound_is_named(tmp_path, name):
  log = changed(**{name.replace('/', '__'): 1e6})
  (text,) = warnings(tmp_path, log)
  assert text.startswith(f'{name} diverges') and '1e+06' in text


def test_collapsed_latents_are_said(tmp_path):
  highest = 8 * math.log(8)
  log = changed(train__loss__dyn=1.0, train__rep_ent=0.99 * highest)
  (text,) = warnings(tmp_path, log)
  assert text.startswith('The latents look collapsed') and '16.6 nats' in text


@pytest.mark.parametrize(
  ('kl', 'entropy'),
  [(1.0, 4.0), (2.0, 16.6), (None, 16.6), (1.0, None)],
)
def test_latents_that_tell_something_are_not_called_collapsed(
  tmp_path, kl, entropy
):
  log = changed(train__loss__dyn=kl, train__rep_ent=entropy)
  assert not any('collapsed' in text for text in warnings(tmp_path, log))


@pytest.mark.parametrize('free', ['1', None, True, float('nan')])
def test_a_config_of_a_stranger_breaks_no_verdict(tmp_path, free):
  config = {'dynamics__rssm__free_nats': free, 'train__steps': 'many'}
  config['dynamics__rssm__stochastic'] = [1]
  assert warnings(tmp_path, SOUND, **config) == []


def test_a_run_that_is_not_at_its_end_says_so(tmp_path):
  assert warnings(tmp_path, SOUND, train__steps=5000) == []
  (text,) = verdicts.notes(runs.read(tmp_path, 'x'))
  assert text == 'It has made 1,000 of 5,000 environment steps.'
