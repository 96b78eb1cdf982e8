"""Importing the reference's arrays under this project's names."""

import pickle

import numpy as np
import pytest

from dreamer_nnx.interop.pickles import load_reference
from dreamer_nnx.interop.reference import convert
from tests import parity
from tests.launcher import ROOT

FIXTURES = ROOT / 'tests' / 'fixtures'


@pytest.fixture(
  scope='module', params=['vision_discrete', 'proprio_continuous']
)
def case(request):
  fixture = parity.Fixture(FIXTURES / f'{request.param}.json')
  return fixture.under('final'), parity.make_learner(fixture).abstract


def test_every_array_has_exactly_one_place(case):
  reference, target = case
  result = convert(reference, target)
  assert result.keys() == target.keys() - {'key', 'diverged'}
  names = [n for n in reference if n.startswith(('enc', 'dyn', 'dec', 'pol'))]
  total = lambda arrays: sum(np.abs(a).sum(dtype=np.float64) for a in arrays)
  here = ('encoder', 'dynamics', 'decoder', 'behavior/policy')
  np.testing.assert_allclose(
    total(v for k, v in result.items() if k.startswith(here)),
    total(reference[name] for name in names),
    rtol=1e-12,
  )


def test_a_run_of_the_reference_is_read_from_its_folder(case, tmp_path):
  reference, target = case
  step = tmp_path / 'ckpt' / '20250101T000000F000000'
  step.mkdir(parents=True)
  (tmp_path / 'ckpt' / 'latest').write_text(step.name)
  (step / 'done').touch()
  saved = {'params': dict(reference), 'counters': {'updates': 3}}
  (step / 'agent.pkl').write_bytes(pickle.dumps(saved))
  result = convert(load_reference(tmp_path), target)
  expected = convert(reference, target)
  for name in expected:
    np.testing.assert_array_equal(result[name], expected[name], err_msg=name)


def test_what_does_not_fit_is_named(case):
  reference, target = case
  broken = dict(reference)
  broken['dyn/dyngru/bias'] = np.ones(3, np.float32)
  broken['dyn/other/kernel'] = np.ones(3, np.float32)
  del broken['rew/mlp/linear0/bias']
  with pytest.raises(ValueError, match='does not fit this config') as error:
    convert(broken, target)
  text = str(error.value)
  assert 'dynamics/core/gates/bias is (3,), this config builds (96,)' in text
  assert 'reward/mlp/layers/0/linear/bias (24,) is missing' in text
  assert 'dyn/other/kernel has no place here' in text


def test_image_channels_are_sorted_by_key():
  fixture = parity.Fixture(FIXTURES / 'vision_discrete.json')
  target = parity.make_learner(fixture).abstract
  reference = fixture.under('init')
  order = [('right', 1), ('left', 2)]
  result = convert(reference, target, order)
  kernel = reference['dec/imgout/kernel']
  np.testing.assert_array_equal(
    result['decoder/images/out/kernel'], kernel[..., [1, 2, 0]]
  )
