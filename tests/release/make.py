"""Builds a release of what is committed, checks it, and tries it.

  make release PYTHONS='python3.11 python3.13'

Leaves a wheel and a source distribution in `dist/`. Each Python gets a fresh
environment with the wheel and nothing of the checkout, in which
`try_wheel.py` is run. Ends with the first fault. Needs the standard library
and a package index alone.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Collection, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRY = pathlib.Path(__file__).with_name('try_wheel.py')
# What a source distribution has beside the package and the configs.
BESIDE = re.compile(
  r'(CHANGELOG\.md|CITATION\.cff|LICENSE|MANIFEST\.in|PKG-INFO|README\.md'
  r'|SECURITY\.md|pyproject\.toml|setup\.cfg|dreamer_nnx\.egg-info/.*)'
)
WARNINGS: list[str] = []


class Fault(Exception):
  """Something that a release must not have; the message says what."""


def main(pythons: Sequence[str]) -> int:
  """Makes the release and returns the exit status."""
  try:
    with tempfile.TemporaryDirectory(prefix='release-') as folder:
      version, files = built(pathlib.Path(folder))
      for python in pythons or (sys.executable,):
        tried(python, files[0], version, pathlib.Path(folder) / 'try')
      shutil.rmtree(ROOT / 'dist', ignore_errors=True)
      (ROOT / 'dist').mkdir()
      kept = [shutil.copy(file, ROOT / 'dist') for file in files]
  except Fault as fault:
    print(f'FAULT  {fault}')
    return 1
  for text in WARNINGS:
    print(f'warning  {text}')
  print(f'Release {version}, tried on {len(pythons) or 1}:', *kept, sep='\n  ')
  return 0


def built(folder: pathlib.Path) -> tuple[str, list[pathlib.Path]]:
  """Version, wheel and source distribution of what is committed, checked."""
  changed = said(['git', 'status', '--porcelain'], ROOT).strip()
  if changed:
    WARNINGS.append(f'not committed, so not in it:\n{changed}')
  clone = folder / 'clone'
  said(['git', 'clone', '--quiet', str(ROOT), str(clone)], ROOT)
  version = version_of((clone / 'dreamer_nnx/versions.py').read_text('utf-8'))
  check_pages(version, clone)
  passed(f'version {version} is that of CHANGELOG.md and CITATION.cff')
  python = environment(sys.executable, folder / 'build')
  said([python, '-m', 'pip', 'install', '--quiet', 'build'], folder)
  # The wheel is built from the source distribution.
  said([python, '-m', 'build', '--outdir', str(folder / 'dist')], clone)
  (wheel,) = (folder / 'dist').glob('*.whl')
  (source,) = (folder / 'dist').glob('*.tar.gz')
  tracked = said(['git', 'ls-files'], clone).split()
  check_names(wheel.name, source.name, version)
  check_wheel(zipfile.ZipFile(wheel).namelist(), tracked)
  passed(f'{wheel.name} holds the package and its configs')
  with tarfile.open(source) as archive:
    check_source([x.name for x in archive if x.isfile()], tracked)
  passed(f'{source.name} holds what the wheel is built from')
  return version, [wheel, source]


def tried(
  python: str, wheel: pathlib.Path, version: str, folder: pathlib.Path
) -> None:
  """Installs the wheel in a fresh environment and runs the program there."""
  start = time.perf_counter()
  shutil.rmtree(folder, ignore_errors=True)
  found = environment(python, folder / 'venv')
  said([found, '-m', 'pip', 'install', '--quiet', str(wheel)], folder)
  said([found, '-m', 'pip', 'check'], folder)
  print(f'trying it with {python}', flush=True)
  (folder / 'empty').mkdir()
  # Isolated: neither this folder nor PYTHONPATH is searched for modules.
  done = subprocess.run(
    [found, '-I', str(TRY), version], cwd=folder / 'empty', env=plain_env()
  )
  if done.returncode:
    raise Fault(f'{python}: {TRY.name} ended with {done.returncode}')
  passed(f'{python}: tried, {time.perf_counter() - start:.0f} s with its setup')


def environment(python: str, folder: pathlib.Path) -> str:
  """Makes a fresh environment; the path of its Python."""
  said([python, '-m', 'venv', str(folder)], ROOT)
  return str(folder / 'bin' / 'python')


def version_of(text: str) -> str:
  """The version that `versions.py` says."""
  found = re.search(r"^PACKAGE = '([^']+)'$", text, re.MULTILINE)
  if not found:
    raise Fault('dreamer_nnx/versions.py has no PACKAGE')
  return found[1]


def check_pages(version: str, folder: pathlib.Path) -> None:
  """Compares the version with what the pages of a checkout say."""
  changes = (folder / 'CHANGELOG.md').read_text('utf-8')
  sections = re.split(r'^## ', changes, flags=re.MULTILINE)[1:]
  titles = [section.partition('\n')[0] for section in sections]
  if titles[:1] != ['[Unreleased]']:
    raise Fault('CHANGELOG.md does not begin with [Unreleased]')
  if sections[0].partition('\n')[2].strip():
    raise Fault(f'CHANGELOG.md has changes that are not below {version}')
  title = (titles[1:] or ['nothing'])[0]
  if not re.fullmatch(rf'\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d', title):
    raise Fault(f'version is {version}; CHANGELOG.md has {title} at the top')
  citation = (folder / 'CITATION.cff').read_text('utf-8')
  if not re.search(rf'^version: {re.escape(version)}$', citation, re.MULTILINE):
    raise Fault(f'CITATION.cff does not say version: {version}')


def check_names(wheel: str, source: str, version: str) -> None:
  expected = f'dreamer_nnx-{version}'
  if wheel != f'{expected}-py3-none-any.whl' or source != f'{expected}.tar.gz':
    raise Fault(f'{wheel} and {source} are not of version {version}')


def check_wheel(names: Collection[str], tracked: Collection[str]) -> None:
  """Compares the files of a wheel with those of a checkout."""
  inside = {x for x in names if '.dist-info/' not in x}
  expected = {x for x in tracked if x.startswith('dreamer_nnx/')}
  configs = {x for x in tracked if re.fullmatch(r'configs/.*\.py', x)}
  if not configs:
    raise Fault('there are no configs')
  differing(inside, expected | {f'dreamer_nnx/{x}' for x in configs}, 'wheel')


def check_source(names: Collection[str], tracked: Collection[str]) -> None:
  """Compares the files of a source distribution with those of a checkout."""
  inside = {x.partition('/')[2] for x in names}  # Below `dreamer_nnx-1.2.3/`.
  expected = {
    x for x in tracked if re.fullmatch(r'dreamer_nnx/.*|configs/.*\.py', x)
  }
  beside = {x for x in inside if BESIDE.fullmatch(x)}
  missing = {'CHANGELOG.md', 'LICENSE', 'README.md', 'pyproject.toml'} - beside
  differing(inside - beside, expected | missing, 'source distribution')


def differing(found: set[str], expected: set[str], what: str) -> None:
  """Raises Fault where two sets of files differ."""
  parts = [('lacks', expected - found), ('has in excess', found - expected)]
  texts = [f'{verb} {", ".join(sorted(x)[:5])}' for verb, x in parts if x]
  if texts:
    raise Fault(f'the {what} {" and ".join(texts)}')


def said(command: Sequence[str], folder: pathlib.Path) -> str:
  """What a command prints; Fault, with all of it, if it fails."""
  folder.mkdir(parents=True, exist_ok=True)
  try:
    done = subprocess.run(
      command, cwd=folder, env=plain_env(), capture_output=True, text=True
    )
  except OSError as error:
    raise Fault(f'{command[0]}: {error.strerror}') from error
  if done.returncode:
    raise Fault(f'{" ".join(command)}:\n{done.stdout}{done.stderr}'.strip())
  return done.stdout


def plain_env() -> dict[str, str]:
  """The environment without what a make or a checkout around this gave."""
  given = ('MAKE', 'MFLAGS', 'PYTHON', 'VIRTUAL_ENV')
  env = {k: v for k, v in os.environ.items() if not k.startswith(given)}
  return env | {'PIP_DISABLE_PIP_VERSION_CHECK': '1'}


def passed(text: str) -> None:
  print(f'ok  {text}', flush=True)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
