"""The whole check, from the launcher, with what it compiles."""

import re
import types

import numpy as np
import pytest

from dreamer_nnx import commandline
from dreamer_nnx.errors import UserError
from dreamer_nnx.preflight import programs
from dreamer_nnx.preflight.table import Row, Table, amount
from tests.launcher import arguments, launch


def test_a_run_that_can_begin_is_compiled(tmp_path):
  argv = arguments(tmp_path / 'a', train__save_every=20)
  result = launch([*argv, '--mode=check'])
  assert (result.status, result.err) == (0, '')
  head, compiled = result.out.split('Compiled, ')
  assert head.startswith('Before compiling\n')
  for name in ('update', 'policy', 'report'):
    line = rf'ok       {name} +arguments \d+ MiB, temporaries \d+ MiB, outputs'
    assert re.search(line, compiled)
  # The replay and the copy for a checkpoint are counted in both.
  assert head.count('memory   ') == compiled.count('memory   ') == 1
  assert result.out.endswith('The run can begin.\n')
  assert not list(tmp_path.iterdir())


def test_a_run_that_would_fail_has_status_2(tmp_path):
  argv = arguments(tmp_path / 'a', train__batch_size=3)
  result = launch([*argv, '--mode=check', '--num_processes=2'])
  assert result.status == 2
  assert 'config.train.batch_size = 3: must be a multiple of' in result.out
  assert result.out.endswith('The run would fail.\n')


def test_the_workdir_may_be_left_out():
  argv = [x for x in arguments('') if not x.startswith('--workdir')]
  result = launch([*argv, '--mode=check', '--nocompile'])
  assert result.status == 0
  assert 'No --workdir is named, so none was looked at.' in result.out
  assert 'Compiled' not in result.out


@pytest.mark.parametrize('flag', ['distributed', 'process_id'])
def test_flags_of_one_process_are_refused(flag):
  with pytest.raises(UserError, match=f'--{flag}: .*--num_processes says how'):
    commandline.check_flags('check', [flag], in_bucket=False)


def test_flags_of_the_run_are_taken():
  given = ['config', 'restore', 'restore_step', 'scratch', 'profile']
  commandline.check_flags('check', given, in_bucket=False)


def test_other_modes_always_compile():
  with pytest.raises(UserError, match='--nocompile: goes with --mode=check'):
    commandline.check_flags('train', ['nocompile'], in_bucket=False)


def array(replicated):
  """An array of 100 bytes."""
  sharding = types.SimpleNamespace(is_fully_replicated=replicated)
  return types.SimpleNamespace(
    shape=(25,), dtype=np.dtype(np.float32), sharding=sharding
  )


def test_arguments_count_once_and_of_the_rest_the_largest():
  learner = types.SimpleNamespace(
    abstract={'a': array(True), 'b': array(False)},
    layout=types.SimpleNamespace(acting=('a', 'b')),
  )
  sizes = {
    'update': programs.Sizes(1000, 500, 900, 800),
    'policy': programs.Sizes(210, 10, 10, 0),
    'report': programs.Sizes(990, 300, 400, 0),
  }
  assert programs.together(sizes, learner) == 1000 + 210 - 100 + 700


def test_rows_are_wrapped_and_counted():
  lines = []
  table = Table(lines.append)
  table.add(Row('one', 'fine'), Row('two', 'word ' * 20, 'error', 'Mend it.'))
  with table.of('three'):
    raise UserError('must be odd.', 'config.seed', 2)
  assert table.errors == 2
  assert lines[0] == 'ok       one          fine'
  assert max(map(len, '\n'.join(lines).splitlines())) <= 80
  assert lines[1].splitlines()[-1] == f'{"":22}Mend it.'
  assert lines[2] == 'error    three        config.seed = 2: must be odd.'


def test_a_defect_is_no_row():
  with pytest.raises(KeyError), Table(print).of('one'):
    raise KeyError('a')


def test_amounts_have_units():
  assert amount(3 << 20) == '3 MiB'
  assert amount(3 << 29) == '1.5 GiB'
