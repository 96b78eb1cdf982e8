"""The diagnostics of a page: of a sound run, and of faults made on purpose."""

import html
import importlib.metadata
import re

import jax.numpy as jnp
import pytest

from dreamer_nnx.report import diagnostics, groups, runs, writing
from tests import hostile, stored
from tests.play.conftest import TRACK
from tests.report import made

pytestmark = pytest.mark.slow
LEARNING = TRACK | {
  'train.steps': 300,
  'train.train_ratio': 40.0,
  'train.batch_size': 4,
  'train.log_every': 20,
  'train.report_every': 0,
  'optimizer.dreamer.lr': 1e-3,
  'optimizer.dreamer.warmup': 0,
  'agent.imag_length': 4,
  'agent.horizon': 20,
  'loggers.names': ('jsonl',),
}
FAULTS = 'collapsed', 'diverge', 'miscalibrated', 'not finite'
VALUE = 'behavior/value/head/logits/linear/bias'


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
  """A tiny run that has learnt a little."""
  return stored.write(tmp_path_factory.mktemp('sound') / 'run', **LEARNING)


@pytest.fixture
def workdir(sound, tmp_path):
  return hostile.copy_workdir(sound, tmp_path / 'copy')


def page_of(workdir, trust=False, say=lambda text: None):
  """Warnings at the head of the page, and the text of the diagnostics."""
  found = groups.make(runs.read_all([workdir]))
  look = lambda run: diagnostics.section(run, trust, say)
  text = writing.html(found, trust, look)
  plain = lambda part: html.unescape(re.sub(r'<[^>]+>', ' ', part)).strip()
  head = text[: text.index('</header>')]
  warnings = [plain(x) for x in re.findall(r'<li>(.*?)</li>', head, re.DOTALL)]
  start = text.index('<h2>Diagnostics')
  part = text[start : text.index('</section>', start)]
  return warnings, plain(re.sub(r'<script.*?</script>', '', part, flags=re.S))


def absence(workdir, trust=False):
  """The one line about why there are no diagnostics."""
  warnings, text = page_of(workdir, trust)
  lines = map(str.strip, text.splitlines())
  (line,) = [x for x in lines if x.startswith('There are none: ')]
  assert 'Calibration' not in text
  return warnings, line


def test_a_sound_run_has_all_diagnostics_and_no_warning(sound):
  said = []
  warnings, text = page_of(sound, say=said.append)
  assert warnings == []
  assert len(said) == 2 and all('Diagnosing step 300' in x for x in said)
  for name in ('image', 'reward', 'cont'):
    assert f'Open-loop error: {name}' in text
  for title in ('KL by step', 'Codes in use', 'Calibration of the value'):
    assert title in text
  assert re.search(r'first array that is not finite\s+none', text)
  losses = text[text.index('Gradients by loss') :]
  for name in ('dyn', 'rep', 'image', 'rew', 'con', 'policy', 'value'):
    assert re.search(rf'\b{name}\b', losses), name


def test_collapsed_codes_are_said_at_the_head(workdir):
  def change(state):
    out = 'dynamics/posterior/out'
    state[f'{out}/kernel'] *= 0
    bias = jnp.zeros((2, 4)).at[:, 1].set(100.0)
    state[f'{out}/bias'] = bias.reshape(-1)

  hostile.edit_state(workdir, change)
  warnings, text = page_of(workdir)
  (warning,) = [x for x in warnings if 'collapsed' in x]
  assert warning == (
    'Diagnostics: The latent codes have collapsed: 100% of 2 variables always '
    'have the same code.'
  )
  assert re.search(r'variables that never change\s+100%', text)


@pytest.mark.parametrize(('bin', 'word'), [(180, 'high'), (70, 'low')])
def test_a_shifted_value_is_said_at_the_head(workdir, bin, word):
  def change(state):
    state[VALUE] = state[VALUE].at[bin].add(1e3)

  hostile.edit_state(workdir, change)
  warnings, _ = page_of(workdir)
  (warning,) = warnings
  assert warning.startswith('Diagnostics: The value is miscalibrated: on')
  assert f'too {word}' in warning


def test_the_first_array_that_is_not_finite_is_named(workdir):
  def change(state):
    for name in (VALUE, 'encoder/images/convs/0/bias'):
      state[name] = state[name].at[1].set(jnp.nan)

  hostile.edit_state(workdir, change)
  warnings, text = page_of(workdir)
  (warning,) = [x for x in warnings if 'not finite' in x]
  assert f'{VALUE} is the first array' in warning
  assert re.search(rf'first array that is not finite\s+{VALUE}', text)
  assert 'Open-loop error: image' in text


def test_other_devices_and_bfloat16_are_no_obstacle(tmp_path):
  changes = {'precision.compute': 'bfloat16', 'precision.device': 'accelerator'}
  workdir = stored.write(tmp_path / 'run', **TRACK, **changes)
  root = hostile.step_of(workdir)
  file = root / 'state' / '_sharding'
  before = file.read_text()
  # A device that is not here.
  file.write_text(before.replace(r'\"id\": 0', r'\"id\": 7'))
  assert file.read_text() != before
  hostile.seal(root)
  _, text = page_of(workdir)
  assert 'Open-loop error: image' in text and 'Calibration' in text


def test_an_environment_that_cannot_be_made_leaves_the_replay(
  workdir, monkeypatch
):
  def version(name, real=importlib.metadata.version):
    if name == 'minatar':
      raise importlib.metadata.PackageNotFoundError(name)
    return real(name)

  def change(meta):
    meta['config']['env'] = {'name': 'minatar', 'minatar': {}}

  monkeypatch.setattr(importlib.metadata, 'version', version)
  hostile.edit_meta(workdir, change)
  _, text = page_of(workdir)
  assert 'Nothing is known of its value: ' in text
  assert 'needs: pip install minatar' in text
  assert 'Open-loop error: image' in text and 'Calibration' not in text


def test_a_config_that_names_code_is_not_trusted(workdir):
  def change(meta):
    meta['config']['plugins'] = ['nowhere_at_all']

  hostile.edit_meta(workdir, change)
  _, line = absence(workdir)
  assert 'config.plugins' in line and '--trust_config' in line
  _, line = absence(workdir, trust=True)
  assert 'nowhere_at_all' in line


def test_a_damaged_checkpoint_is_said_and_the_page_is_there(workdir):
  file = max(
    (hostile.step_of(workdir) / 'state' / 'd').iterdir(),
    key=lambda path: path.stat().st_size,
  )
  file.write_bytes(file.read_bytes()[:-10])
  warnings, line = absence(workdir)
  assert 'checkpoint' in line and file.name in line
  assert not any(word in ' '.join(warnings) for word in FAULTS)


def test_a_checkpoint_of_another_agent_is_said(workdir):
  def change(meta):
    meta['config']['dynamics']['rssm']['deter'] = 32

  hostile.edit_meta(workdir, change)
  _, line = absence(workdir)
  assert 'dynamics/' in line and '(16' in line


def test_logs_alone_tell_of_divergence(tmp_path):
  log = made.lines(100)
  for i, line in enumerate(log):
    line['train/loss/image'] = None if i > 95 else 2.0
    line['train/loss/rew'] = 1.0 if i < 80 else 1.5 ** (i - 60)
  made.write(tmp_path, log, None, made.config())
  warnings, line = absence(tmp_path)
  one, two = warnings
  assert 'train/loss/image was not finite on 4 lines' in one
  assert 'train/loss/rew diverges' in two
  assert 'saved no checkpoint yet' in line and 'save_every' in line
