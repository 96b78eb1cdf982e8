"""Parity with the reference: fixtures pass, a wrong number does not."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from dreamer_nnx.numerics import sampling
from tests import parity

FIXTURES = Path(__file__).parent / 'fixtures'
PROPRIO = FIXTURES / 'proprio_continuous.json'
VISION = FIXTURES / 'vision_discrete.json'
GROUPS = {'forward', 'final'} | {f'policy{i}' for i in range(4)}
GROUPS |= {f'{name}{i}' for i in range(3) for name in ('train', 'replay')}


def run(path, capsys):
  """Exit status, rows as printed, and the last line."""
  status = parity.main(['parity', str(path)])
  *lines, last = capsys.readouterr().out.splitlines()
  return status, lines, last


@pytest.mark.parametrize('path', [PROPRIO, VISION], ids=lambda p: p.stem)
def test_every_quantity_is_within_its_bound(path, capsys):
  status, lines, last = run(path, capsys)
  assert not [line for line in lines if 'OUT OF BOUNDS' in line]
  assert status == 0 and last == f'{len(lines)} passed, 0 failed'
  assert {line.split('/')[0] for line in lines} == GROUPS
  # Name, error and bound.
  assert all(re.fullmatch(r'\S+ +\S+e\S+ +\S+e\S+', line) for line in lines)


@pytest.fixture
def disturbed(tmp_path):
  """A fixture of the forward pass alone, whose reward head is another."""
  with np.load(PROPRIO.with_suffix('.npz')) as file:
    arrays = {
      key: value
      for key, value in file.items()
      if key.startswith(('init/', 'forward/', 'batch0/'))
    }
  final = {k.replace('init/', 'final/'): v for k, v in arrays.items()}
  arrays |= {k: v for k, v in final.items() if k.startswith('final/')}
  name = 'init/rew/head/logits/kernel'
  arrays[name] = arrays[name] + np.linspace(0, 1, arrays[name].shape[-1])
  path = tmp_path / 'disturbed.json'
  meta = json.loads(PROPRIO.read_text()) | {'steps': 0}
  path.write_text(json.dumps(meta))
  np.savez(path.with_suffix('.npz'), **arrays)
  return path


def test_a_disturbed_parameter_fails_what_depends_on_it(disturbed, capsys):
  status, lines, last = run(disturbed, capsys)
  failed = {line.split()[0] for line in lines if 'OUT OF BOUNDS' in line}
  passed = {line.split()[0] for line in lines} - failed
  assert status == 1 and last.endswith(f' {len(failed)} failed')
  reward = {'forward/heads/rew', 'forward/losses/rew', 'forward/loss'}
  assert failed >= reward | {'final/parameters'}
  assert passed >= {
    'forward/tokens',
    'forward/prior',
    'forward/heads/con',
    'forward/losses/dyn',
    'forward/losses/con',
    'forward/recon/position',
  }


@pytest.mark.parametrize('arguments', [[], ['a.json', 'b.json']], ids=str)
def test_other_numbers_of_arguments_are_a_usage_error(arguments, capsys):
  assert parity.main(['parity', *arguments]) == 2
  out, err = capsys.readouterr()
  assert err == 'usage: python -m tests.parity FIXTURE.json\n' and not out


def test_errors_are_relative_to_the_largest_magnitude():
  assert parity.relative([1.0, -3.9], [1.0, -4.0]) == pytest.approx(0.025)
  # That is taken as a thousandth at least.
  assert parity.relative([2e-6], [1e-6]) == pytest.approx(1e-3)
  assert parity.relative([1.0], [[1.0]]) == np.inf
  assert parity.relative([], []) == 0


def test_a_row_passes_up_to_its_bound():
  error = [parity.Row('x', e, 0.5).passes for e in (0.5, 0.51, np.nan, np.inf)]
  assert error == [True, False, False, False]


def test_what_is_missing_is_infinitely_wrong():
  rows = parity.compare('p', {'a': 1.0}, {'b': 2.0, 'a': 1.5}, 0.5)
  assert rows == [parity.Row('p/a', 1 / 3, 0.5), parity.Row('p/b', np.inf, 0.5)]


def test_share_of_elements_outside_of_their_tolerance():
  want = np.array([0, 0, 1, 1, 100, 100])
  got = want + np.array([9e-6, 1.1e-5, 1e-4, 2e-4, -1e-2, -2e-2])
  assert parity.outside(got, want) == 0.5


def test_samples_are_deterministic_within_and_random_outside():
  probs, key = np.float32([0, 2, 1]), jax.random.key(0)
  with parity.deterministic():
    assert sampling.categorical(key, probs) == 1
    assert sampling.normal(key, 3.0, 0.5) == 3.25
  drawn = sampling.categorical(key, np.ones((64, 3), np.float32))
  assert set(np.unique(drawn)) == {0, 1, 2}
