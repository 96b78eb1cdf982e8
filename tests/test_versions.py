"""The numbers of formats: what is newer is refused, what is older is read."""

import json

import pytest

from dreamer_nnx import __version__, versions
from dreamer_nnx.training import checkpoint
from dreamer_nnx.training.checkpoint import CheckpointError
from tests import pages
from tests.training.test_checkpoint import build, target_of, write

NEWER = versions.CHECKPOINT + 1


def said(step, meta):
  """Writes meta as a version that has no list of files would have."""
  (step / 'files.json').unlink(missing_ok=True)
  (step / 'meta' / 'metadata').write_text(json.dumps(meta))


def readers(folder):
  target = target_of(build())
  return (
    lambda: checkpoint.restore(folder, target),
    lambda: checkpoint.partial(folder, target, 'encoder'),
    lambda: checkpoint.load_meta(folder),
  )


@pytest.mark.parametrize(
  ('meta', 'message'),
  [
    (
      {'format': NEWER, 'written_by': '0.9.1', 'processes': 'of another kind'},
      f'cannot be read: it is of format {NEWER}, written by version 0.9.1 of '
      f'dreamer-nnx. Version {versions.PACKAGE}, which is running, reads '
      f'formats up to {versions.CHECKPOINT}: install a newer one.',
    ),
    ({'format': NEWER}, f'cannot be read: it is of format {NEWER}. Version '),
    ({'format': NEWER, 'written_by': 'x\n'}, f'format {NEWER}. Version '),
    ({'format': 0}, "its format is '0', which is no number of one."),
    ({'format': True}, "its format is 'True', which is no number of one."),
    ({'format': '2'}, "its format is '2', which is no number of one."),
    ({'format': None}, "its format is 'None', which is no number of one."),
  ],
)
def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path, meta, message):
  # Its arrays are of other names too, which would be complained about.
  step = write(tmp_path)
  said(step, meta)
  for read in (*readers(tmp_path), *readers(step)):
    with pytest.raises(CheckpointError) as error:
      read()
    assert f'checkpoint step 5 in {tmp_path} {message}'[:60] in str(error.value)
    assert message in str(error.value)
    assert 'damaged' not in str(error.value)


@pytest.mark.parametrize(
  'meta', [{}, {'format': 1}, {'format': versions.CHECKPOINT}]
)
def test_a_checkpoint_of_a_format_up_to_this_is_read(tmp_path, meta):
  said(write(tmp_path), meta)
  restored, part, found = (read() for read in readers(tmp_path))
  assert restored.meta == found == meta
  assert restored.state.keys() == build().keys()
  assert part.loaded


def test_the_format_is_said_before_what_does_not_fit(tmp_path):
  said(write(tmp_path), {'format': NEWER})
  other = target_of(build(units=7))
  with pytest.raises(CheckpointError, match=f'of format {NEWER}'):
    checkpoint.restore(tmp_path, other)


def test_the_version_of_the_package_is_of_three_numbers():
  assert __version__ == versions.PACKAGE
  assert [x.isdigit() for x in versions.PACKAGE.split('.')] == [True] * 3


def rows(text):
  lines = text.partition('\n## Formats\n')[2].partition('\n## ')[0].splitlines()
  cells = [[x.strip() for x in line.split('|')[1:-1]] for line in lines]
  return [row for row in cells if len(row) == 4][2:]


def test_the_page_has_every_format_with_its_number():
  found = {row[0]: row[2] for row in rows(pages.text('docs/checkpoints.md'))}
  assert found['checkpoint'] == str(versions.CHECKPOINT)
  assert found["replay's index"] == str(versions.REPLAY)
  assert found["replay's files"] == str(versions.CHUNK_FILE)
