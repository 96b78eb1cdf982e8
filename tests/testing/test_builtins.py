"""Everything that is registered keeps its promises."""

import sys
import types

import pytest

from dreamer_nnx import testing
from dreamer_nnx.slots import SLOTS
from dreamer_nnx.testing import __main__ as program
from dreamer_nnx.testing import entries, pairs
from dreamer_nnx.testing.new import PATHS
from tests.loggers.test_wandb import Run

OWN = 'dreamer_nnx.'
ENTRIES = [
  pytest.param(
    slot.name,
    entry.name,
    id=f'{slot.name}-{entry.name}',
    # It draws some twenty steps a second.
    marks=[pytest.mark.whole] if entry.name == 'memory_maze' else [],
  )
  for slot in SLOTS
  for entry in slot.entries()
  if entry.builder.__module__.startswith(OWN)
]
# One agent of each, where the program trains every pair.
SHORT = (
  'encoder vit with dynamics transformer',
  'dynamics ssm with behavior cem',
  'dynamics gru with behavior constrained',
  'policy masked',
  'objective masks',
  'replay mixture',
)
# Of these another is trained, or an experiment.
LONG = ('dynamics ssm with behavior cem', 'policy masked')
MORE = (pytest.mark.whole,)


@pytest.mark.slow
@pytest.mark.parametrize(('slot', 'name'), ENTRIES)
def test_entry_keeps_its_promises(slot, name, tmp_path, monkeypatch):
  if name == 'wandb':
    library = types.ModuleType('wandb')
    library.init = lambda **options: Run(**options)
    library.Video = lambda file, format: format
    monkeypatch.setitem(sys.modules, 'wandb', library)
  elif package := entries.missing(slot, name):
    pytest.importorskip(package)
  elif name == 'memory_maze':
    pytest.importorskip('mujoco.egl', reason='no EGL', exc_type=Exception)
  entries.run(slot, name, tmp_path)


def test_each_slot_has_a_check_and_a_place_in_the_config():
  for slot in SLOTS:
    assert callable(getattr(testing, f'check_{slot.name}'))
    assert slot.name in PATHS


def test_every_pair_is_trained():
  titles = [case.title for case in pairs.cases()]
  assert len(set(titles)) == len(titles)
  for name in ('rssm', 'gru', 'ssm', 'transformer'):
    for encoder in ('simple', 'resnet', 'vit', 'mlp'):
      assert f'encoder {encoder} with dynamics {name}' in titles
    for behavior in ('actor_critic', 'cem', 'constrained'):
      assert f'dynamics {name} with behavior {behavior}' in titles
  assert set(SHORT) <= set(titles)


@pytest.mark.slow
@pytest.mark.parametrize(
  'title', [pytest.param(x, marks=MORE if x in LONG else ()) for x in SHORT]
)
def test_pair_trains_from_flags(title):
  (case,) = (x for x in pairs.cases() if x.title == title)
  assert pairs.train(case) >= 2


def test_program_prints_a_table_and_fails(monkeypatch, capsys):
  def bad():
    raise testing.Broken('encoder b', 'a promise', 'not kept')

  lines = [('check encoder a', lambda: None), ('check encoder b', bad)]
  lines += [('check encoder c needs d', None)]
  monkeypatch.setattr(program, 'lines', lambda: iter(lines))
  assert program.main(['check', 'a']) == 0
  assert program.main([]) == 1
  shown = capsys.readouterr().out
  assert 'Broken: encoder b: a promise: not kept' in shown
  assert 'check encoder c needs d, which is not installed' in shown
  assert '1 of 2 keep their promises.' in shown
