"""Samples of every released version are restored, gone on with and played."""

import json

import pytest

from dreamer_nnx import versions
from dreamer_nnx.training.checkpoint import load_meta
from tests import samples
from tests.launcher import CACHE, launch

SAMPLES = sorted(path.stem for path in samples.FIXTURES.glob('workdir_*.json'))


@pytest.fixture(params=SAMPLES)
def sample(request, tmp_path):
  return request.param, samples.extracted(request.param, tmp_path)


def test_this_version_has_a_sample():
  assert samples.name() in SAMPLES, 'python -m tests.samples'


def test_everything_of_a_sample_is_found(sample):
  name, workdir = sample
  text = (samples.FIXTURES / f'{name}.json').read_text('utf-8')
  expected = json.loads(text)
  found = json.loads(json.dumps(samples.numbers(workdir)))
  # Later versions may add to what is found, and take nothing from it.
  for part in ('counters', 'interface', 'state', 'loop', 'replay'):
    kept = {k: x for k, x in found[part].items() if k in expected[part]}
    assert kept == expected[part], part
  assert expected['replay']['steps'] == samples.STEPS
  assert len(expected['state']) > 100
  assert name.startswith(
    'workdir_' + expected['written_by'].replace('.', '_')[:3]
  )
  assert found['format'] <= versions.CHECKPOINT


def test_a_sample_is_gone_on_with_and_played(sample):
  _, workdir = sample
  flags = [f'--workdir={workdir}', f'--compilation_cache={CACHE}']
  more = [f'--config.train.steps={samples.STEPS + 16}']
  trained = launch([*flags, *more, '--mode=train_and_evaluate'])
  assert trained.status == 0, trained.out + trained.err
  assert f'from step {samples.STEPS}' in trained.out and 'greedy' in trained.out
  meta = load_meta(workdir)
  assert meta['counters']['env_steps'] == samples.STEPS + 16
  assert meta['counters']['updates'] > 0
  assert meta['format'] == versions.CHECKPOINT
  assert meta['written_by'] == versions.PACKAGE
  index = meta['processes'][0]['replay']
  held = sum(length for _, _, length, _ in index['chunks'])
  assert held == samples.STEPS + 16 and index['version'] == versions.REPLAY


def test_a_run_of_a_newer_format_is_refused_and_left_alone(tmp_path):
  workdir = samples.extracted(samples.name(), tmp_path)
  step = workdir / 'checkpoints' / str(samples.STEPS)
  meta = json.loads((step / 'meta' / 'metadata').read_text('utf-8'))
  meta |= {'format': versions.CHECKPOINT + 1, 'written_by': '9.8.7'}
  (step / 'meta' / 'metadata').write_text(json.dumps(meta), 'utf-8')
  (step / 'files.json').unlink()
  files = {x: x.read_bytes() for x in workdir.rglob('*') if x.is_file()}
  for mode in ('train_and_evaluate', 'evaluate'):
    result = launch([f'--workdir={workdir}', f'--mode={mode}'])
    assert result.status == 2
    assert 'written by version 9.8.7 of dreamer-nnx' in result.err
    assert 'Traceback' not in result.err
  assert all(path.read_bytes() == text for path, text in files.items())
