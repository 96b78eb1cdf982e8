import os
import pickle
import resource
import time
from collections import OrderedDict
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx import paths
from dreamer_nnx.interop.pickles import load_reference

TIME = '20250102T030405F678'
COUNTERS = {'updates': 7, 'batches': 7, 'actions': 20}


def params() -> dict[str, np.ndarray]:
  random = np.random.default_rng(0)
  return {
    'enc/cnn0/kernel': random.normal(size=(3, 3, 2, 4)).astype(np.float32),
    'dyn/dynhid0/kernel': random.normal(size=(5, 6)).astype(np.float32).T,
    'slowval/bias': random.normal(size=(4,)).astype(jnp.bfloat16),
    'opt/step': np.asarray(11, np.int32),
    'retnorm/corr': np.float32(0.25),
    'mask': np.array([True, False]),
    'big': np.arange(3, dtype='>i8') + 2**40,
    'empty': np.zeros((0, 3), np.uint8),
  }


def write(folder: Path, data: object, protocol: int = 4) -> Path:
  folder.mkdir(parents=True)
  (folder / 'agent.pkl').write_bytes(pickle.dumps(data, protocol))
  (folder / 'done').write_bytes(b'')
  return folder / 'agent.pkl'


def write_run(logdir: Path, ckpt: str = 'ckpt', time: str = TIME) -> Path:
  file = write(logdir / ckpt / time, {'params': params(), 'counters': COUNTERS})
  (logdir / ckpt / 'latest').write_text(time)
  return file


def assert_equal(loaded, expected):
  assert loaded.keys() == expected.keys()
  for name, value in expected.items():
    assert loaded[name].dtype == value.dtype.newbyteorder('='), name
    assert loaded[name].shape == value.shape, name
    np.testing.assert_array_equal(loaded[name], value, err_msg=name)


@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_parameters_come_back_as_they_were(tmp_path, protocol):
  data = {'params': params(), 'counters': COUNTERS}
  file = write(tmp_path / 'save', data, protocol)
  assert_equal(load_reference(file), params())


def test_names_of_numpy_before_2_are_known(tmp_path):
  data = {'params': params(), 'counters': COUNTERS}
  # Protocol 3 spells names as text, so that they can be replaced.
  old = pickle.dumps(data, 3).replace(b'numpy._core.', b'numpy.core.')
  assert b'numpy.core.multiarray' in old
  file = write(tmp_path / 'save', None)
  file.write_bytes(old)
  assert_equal(load_reference(file), params())


def test_containers_of_the_standard_library_are_known(tmp_path):
  data = OrderedDict(params=OrderedDict(params()), more=[{1}, (2, 3)])
  file = write(tmp_path / 'save', data)
  assert_equal(load_reference(file), params())


@pytest.mark.parametrize('ckpt', ['ckpt', 'ckpt/agent'])
def test_every_folder_of_a_run_names_its_latest_save(tmp_path, ckpt):
  latest = write_run(tmp_path, ckpt)
  write(tmp_path / ckpt / '20240101T000000F000', {'params': {'a': np.ones(2)}})
  for path in {latest, latest.parent, latest.parents[1], tmp_path}:
    assert_equal(load_reference(path), params())
  assert_equal(load_reference(str(tmp_path / 'ckpt')), params())


class Command:
  def __init__(self, command: str):
    self.command = command

  def __reduce__(self):
    return os.system, (self.command,)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
  ran = tmp_path / 'ran'
  data = {'params': {**params(), 'x': Command(f'touch {ran}')}}
  file = write(tmp_path / 'save', data)
  with pytest.raises(ValueError, match=r'agent\.pkl names posix\.system') as e:
    load_reference(file)
  assert str(file) in str(e.value)
  assert not ran.exists()
  pickle.loads(file.read_bytes())  # Plain pickle runs it.
  assert ran.exists()


@pytest.mark.parametrize(
  'value, name',
  [
    (Path('x'), r'pathlib\.[\w.]*Path'),
    (eval, r'builtins\.eval'),
    (getattr, r'builtins\.getattr'),
    (np.load, r'numpy(\.\w+)*\.load'),
    (np.array([{}], object), "dtype 'O8'"),
    (np.array(['text']), "dtype 'U4'"),
    (np.zeros(2, [('a', 'f4')]), "dtype 'V4'"),
  ],
)
def test_what_is_no_number_is_refused(tmp_path, value, name):
  file = write(tmp_path / 'save', {'params': {'x': value}})
  with pytest.raises(ValueError, match=f'names {name}, which no parameter'):
    load_reference(file)


def test_a_pickle_cannot_fill_an_array_with_addresses(tmp_path):
  # A float dtype whose state says that elements are Python objects.
  array = pickle.dumps(np.arange(2, dtype='f8') + 1, 3)
  flags = b'(K\x03X\x01\x00\x00\x00<q\x0bNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff'
  assert flags + b'K\x00' in array
  forged = array.replace(flags + b'K\x00', flags + b'K\x3f')
  params_of = pickle.dumps({'params': {'x': 0}}, 3)
  assert params_of.count(b'K\x00') == 1
  file = write(tmp_path / 'save', None)
  # The items end in a stop mark and begin with the protocol: both are left out.
  file.write_bytes(params_of.replace(b'K\x00', forged[2:-1]))
  loaded = load_reference(file)['x']
  np.testing.assert_array_equal(loaded, [1.0, 2.0])
  assert not loaded.dtype.hasobject


@pytest.mark.parametrize('keep', [0, 1, 50, 0.5, -1])
def test_a_file_cut_off_is_named(tmp_path, keep):
  file = write_run(tmp_path)
  data = file.read_bytes()
  file.write_bytes(data[: int(keep * len(data)) if keep == 0.5 else keep])
  with pytest.raises(ValueError, match=r'agent\.pkl cannot be read: it is cut'):
    load_reference(tmp_path)


def test_a_foreign_file_is_named(tmp_path):
  file = tmp_path / 'agent.pkl'
  file.write_bytes(b'\x89PNG\r\n\x1a\nnot a pickle at all')
  with pytest.raises(ValueError, match=r'agent\.pkl cannot be read'):
    load_reference(file)


@pytest.mark.parametrize(
  'data, message',
  [
    ([1, 2], 'it holds list'),
    ({}, 'it holds a dict of nothing'),
    ({'step': 3, 'loss': 4}, "it holds a dict of 'step', 'loss'"),
    ({'params': {}}, "it holds a dict of 'params'"),
    ({'params': {'a': 'text'}}, r"params\['a'\] is str, not an array"),
    ({'params': {3: np.ones(2)}}, 'params has the name 3, not a string'),
  ],
)
def test_pickles_of_something_else_are_refused(tmp_path, data, message):
  file = write(tmp_path / 'save', data)
  with pytest.raises(ValueError, match=message):
    load_reference(file)


def test_a_path_that_holds_nothing_is_named(tmp_path):
  with pytest.raises(ValueError, match=r'gone does not exist: name a logdir'):
    load_reference(tmp_path / 'gone')
  with pytest.raises(ValueError, match='holds no checkpoint of the reference'):
    load_reference(tmp_path)


def test_an_unfinished_save_is_not_taken(tmp_path):
  file = write_run(tmp_path)
  write(file.parents[1] / 'older', {'params': params()})
  (file.parent / 'done').unlink()
  with pytest.raises(
    ValueError, match='not a complete save: done missing'
  ) as e:
    load_reference(tmp_path)
  assert str(e.value).endswith('Complete saves: older.')


@pytest.mark.parametrize('text', ['gone', '', '../../elsewhere'])
def test_latest_must_name_a_save(tmp_path, text):
  file = write_run(tmp_path / 'run')
  write(tmp_path / 'elsewhere', {'params': params()})
  (file.parents[1] / 'latest').write_text(text)
  with pytest.raises(ValueError, match=f'latest names {text!r}.*: {TIME}'):
    load_reference(tmp_path / 'run')


BOMBS = {
  'memo': b'\x80\x04Nr\xff\xff\xff\x7f.',
  'bytes': b'\x80\x04\x8e' + (2**40).to_bytes(8, 'little') + b'x.',
  'bytearray': b'\x80\x05\x96' + (2**40).to_bytes(8, 'little') + b'x.',
  'text': b'\x80\x04\x8d' + (2**40).to_bytes(8, 'little') + b'x.',
  'frame': b'\x80\x04\x95' + (2**40).to_bytes(8, 'little') + b'N.',
  'lists': b'\x80\x04' + b']' * 20_000_000 + b'.',
  'none': b'\x80\x04' + b'N' * 20_000_000 + b'.',
}


@pytest.mark.parametrize('data', BOMBS.values(), ids=BOMBS)
def test_a_small_pickle_takes_little_memory_and_time(tmp_path, data):
  file = tmp_path / 'agent.pkl'
  file.write_bytes(data)
  usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  before, start = usage(), time.process_time()
  with pytest.raises(ValueError, match=r'agent\.pkl'):
    load_reference(file)
  assert time.process_time() - start < 3
  assert usage() - before < 200 * 2**10


def test_arrays_larger_than_their_file_are_refused(tmp_path):
  shared = np.zeros(1 << 20, '>u2')
  file = write(tmp_path / 'save', {'params': dict.fromkeys('abcd', shared)})
  with pytest.raises(ValueError, match=r'has \d+ bytes, its arrays \d+: '):
    load_reference(file)


def test_a_logdir_in_a_bucket_is_read(store, tmp_path):
  write_run(tmp_path / 'run')
  logdir = paths.parse(f'gs://bkt/{tmp_path.name}/run', 'path')
  for name in paths.walk(tmp_path / 'run'):
    paths.write(logdir / name, (tmp_path / 'run' / name).read_bytes())
  assert_equal(load_reference(logdir), params())
  paths.write(logdir / 'ckpt' / 'latest', b'other')
  with pytest.raises(ValueError, match=f'Complete saves: {TIME}'):
    load_reference(logdir)
