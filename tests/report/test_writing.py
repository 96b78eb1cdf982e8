"""The command: what it refuses, and that nothing is overwritten."""

import importlib.metadata

import pytest

from dreamer_nnx import commandline, paths
from dreamer_nnx.envs import packages
from dreamer_nnx.errors import UserError
from dreamer_nnx.report import writing
from tests.launcher import launch
from tests.report import made


@pytest.fixture
def workdir(tmp_path):
  return made.write(tmp_path / 'run', made.lines(3), None, made.config())


def test_a_page_is_written_where_it_is_asked_for(workdir, tmp_path):
  output = tmp_path / 'new' / 'report.html'
  argv = ['--mode=report', f'--workdir={workdir}', f'--output={output}']
  result = launch(argv)
  assert result.status == 0, result.err
  assert result.out.startswith(f'Wrote {output} (1 run, 1.')
  assert output.read_text().startswith('<!doctype html>')
  # A second time only on request.
  output.write_text('mine')
  result = launch(argv)
  assert result.status == 2 and '--force' in result.err
  assert output.read_text() == 'mine'
  assert launch([*argv, '--force']).status == 0
  assert output.read_text() != 'mine'


def test_a_page_says_why_nothing_is_diagnosed(workdir, tmp_path):
  output = tmp_path / 'report.html'
  argv = ['--mode=report', f'--workdir={workdir}', f'--output={output}']
  assert launch(argv).status == 0
  assert 'There are none: the run has saved no checkpoint' in output.read_text()
  assert launch([*argv, '--force', '--nodiagnose']).status == 0
  assert 'There are none: --nodiagnose was given' in output.read_text()


def test_several_workdirs_make_one_page(workdir, tmp_path):
  other = made.write(tmp_path / 'other', made.lines(3), None, made.config())
  output = tmp_path / 'report.html'
  result = launch(
    [
      '--mode=report',
      f'--workdir={workdir}',
      f'--workdir={other}',
      f'--output={output}',
    ]
  )
  assert result.status == 0, result.err
  assert '(2 runs' in result.out and 'Report: run, other' in output.read_text()


@pytest.mark.parametrize(
  ('argv', 'text'),
  [
    (['--output=r.html'], '--workdir'),
    (['--workdir=run'], '--output'),
    (['--workdir=run', '--output='], '--output'),
    (['--workdir=run', '--output=r.html', '--config=demo'], '--config'),
    (['--workdir=run', '--output=r.html', '--profile'], '--profile'),
    (['--workdir=run', '--output=r.html', '--config.seed=1'], '--config.seed'),
    (['--workdir=none', '--output=r.html'], 'does not exist'),
    (['--workdir=empty', '--output=r.html'], 'no workdir'),
    (['--workdir=run', '--output=run/metrics.jsonl', '--force'], 'html'),
  ],
)
def test_a_wrong_request_is_one_message(
  workdir, tmp_path, monkeypatch, argv, text
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'empty').mkdir()
  before = (workdir / 'metrics.jsonl').read_bytes()
  result = launch(['--mode=report', *argv])
  assert result.status == 2 and text in result.err, result
  assert len(result.err.splitlines()) == 1
  assert (workdir / 'metrics.jsonl').read_bytes() == before
  assert not list(tmp_path.glob('*.html'))


@pytest.mark.parametrize('mode', ['train', 'show', 'list', 'evaluate'])
@pytest.mark.parametrize('flag', ['output', 'force', 'nodiagnose'])
def test_its_flags_have_no_effect_elsewhere(mode, flag):
  with pytest.raises(UserError, match='is of --mode=report'):
    commandline.check_flags(mode, {flag}, in_bucket=False)


def test_a_folder_is_not_overwritten(tmp_path):
  (tmp_path / 'a.html').mkdir()
  with pytest.raises(UserError, match='is a folder'):
    writing.check_output(tmp_path / 'a.html', force=True)


def test_a_missing_package_is_one_line(workdir, tmp_path, monkeypatch):
  def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, 'version', version)
  with pytest.raises(packages.PackageError) as caught:
    writing.write([workdir], tmp_path / 'a.html', force=False, trust=False)
  text = str(caught.value)
  assert text.startswith('--mode=report needs: pip install bokeh jinja2 scipy')
  assert len(text.splitlines()) == 1


def test_a_run_in_a_bucket_is_read_and_its_page_written_there(store, workdir):
  remote = paths.parse('gs://bkt/of a report/run', '--workdir')
  for file in workdir.iterdir():
    paths.write(remote / file.name, file.read_bytes())
  output = remote.parent / 'report.html'
  writing.write([remote], output, force=False, trust=False)
  assert output.read_bytes().startswith(b'<!doctype html>')
  with pytest.raises(UserError, match='--force'):
    writing.write([remote], output, force=False, trust=False)
