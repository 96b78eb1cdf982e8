import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing import (
  event_accumulator,
  event_file_loader,
)

from dreamer_nnx.loggers.tensorboard import TensorBoardLogger
from tests.loggers.videos import enlarged, moving_square, read_gif


def load(workdir):
  return event_accumulator.EventAccumulator(str(workdir)).Reload()


def tensors(workdir, tag):
  return [(e.step, e.tensor_proto) for e in load(workdir).Tensors(tag)]


def test_scalars_are_read_back(tmp_path):
  logger = TensorBoardLogger(tmp_path)
  logger.write(16, {'loss/rew': np.float32(0.5), 'text': 'ignored'})
  logger.write(32, {'loss/rew': 0.25, 'count': 3})
  logger.close()
  logger.close()
  found = load(tmp_path)
  assert found.Tags()['scalars'] == ['loss/rew', 'count']
  scalars = [(e.step, e.value) for e in found.Scalars('loss/rew')]
  assert scalars == [(16, 0.5), (32, 0.25)]


@pytest.mark.parametrize('channels', [1, 3])
def test_video_is_read_back_as_an_animated_image(tmp_path, channels):
  video = moving_square(6, channels)
  logger = TensorBoardLogger(tmp_path, fps=5)
  logger.write(48, {'openloop/image': video})
  logger.close()
  (event,) = load(tmp_path).Images('openloop/image')
  assert (event.step, event.height, event.width) == (48, 264, 440)
  frames, delays = read_gif(event.encoded_image_string)
  rgb = np.broadcast_to(video, (6, 12, 20, 3))
  np.testing.assert_array_equal(frames, enlarged(rgb))
  assert delays == [200] * 6


def test_what_is_written_is_on_disk_before_close(tmp_path):
  logger = TensorBoardLogger(tmp_path)
  logger.write(16, {'a': 0.5})
  (file,) = tmp_path.iterdir()
  events = list(event_file_loader.LegacyEventFileLoader(str(file)).Load())
  assert [e.summary.value[0].simple_value for e in events[2:]] == [0.5]
  logger.close()


def test_run_that_goes_on_replaces_later_steps(tmp_path):
  first = TensorBoardLogger(tmp_path)
  for step in (10, 20, 30):
    first.write(step, {'a': step / 10})
  first.close()
  second = TensorBoardLogger(tmp_path)
  second.write(20, {'a': 7.0})
  second.close()
  found = [(e.step, e.value) for e in load(tmp_path).Scalars('a')]
  assert found == [(10, 1.0), (20, 7.0)]


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboard.compat.proto', None)
  with pytest.raises(ValueError, match=r"pip install 'dreamer_nnx\[tensorb"):
    TensorBoardLogger(tmp_path)
