import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from dreamer_nnx.training import checkpoint
from dreamer_nnx.training.checkpoint import CheckpointError, Checkpoints, find

DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])
META = {'updates': 12, 'rng': 2**100, 'config': {'lr': 1e-4, 'sizes': [1, 2]}}


def build(seed: int = 0, units: int = 6) -> dict[str, jax.Array]:
  random = np.random.default_rng(seed)

  def normal(*shape: int) -> jax.Array:
    return jnp.asarray(random.normal(size=shape), jnp.float32)

  return {
    'encoder/mlp/layers/0/linear/kernel': normal(8, units),
    'encoder/mlp/layers/0/linear/bias': normal(units),
    'dynamics/core/kernel': normal(units, 3),
    'slow_value/head/kernel': normal(4, 5).astype(jnp.bfloat16),
    'optimizer/1/nu/encoder/mlp/layers/0/linear/kernel': normal(8, units),
    'retnorm/lo': jnp.float32(-1.5),
    'updates': jnp.int32(7 + seed),
    'key': jax.random.key(3 + seed),
  }


def target_of(state: dict[str, jax.Array]) -> dict[str, jax.ShapeDtypeStruct]:
  return {
    name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=DEVICE)
    for name, x in state.items()
  }


def loop_of(seed: int = 0) -> dict[str, np.ndarray]:
  random = np.random.default_rng(seed)
  return {
    'obs/image': random.integers(0, 256, (2, 4, 4, 3), np.uint8),
    'obs/is_first': np.array([True, False]),
    'carry/deter': random.normal(size=(2, 5)).astype(np.float32),
    'episode/length': np.array([2**40 + seed, 5]),
  }


def numbers(x: jax.Array) -> np.ndarray:
  is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(x) if is_key else x)


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert found[name].dtype == value.dtype, name
    np.testing.assert_array_equal(
      numbers(found[name]), numbers(value), err_msg=name
    )


def write(directory: Path, steps: tuple[int, ...] = (5,), **options) -> Path:
  """Saves states that differ, `build(step)` at each step; returns the last."""
  with Checkpoints(directory, **options) as checkpoints:
    for step in steps:
      assert checkpoints.save(step, build(step), loop_of(step), META)
  return directory / str(steps[-1])


FORMATS = [
  *('bool', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32'),
  *('float16', 'float32', 'complex64', 'bfloat16', 'float8_e3m4'),
  *('float8_e4m3b11fnuz', 'float8_e4m3fn', 'float8_e4m3fnuz', 'float8_e5m2'),
  *('float8_e5m2fnuz', 'float8_e8m0fnu', 'float4_e2m1fn', 'int4', 'int2'),
]


def every_value(name: str) -> np.ndarray:
  """All numbers of a short format, bit patterns of a long one; NaN included."""
  dtype = np.dtype(getattr(ml_dtypes, name, name))
  if dtype.kind == 'b' or name in ('float4_e2m1fn', 'int4', 'int2'):
    return np.arange(-2, 2).astype(dtype)
  return np.frombuffer(bytes(range(256)) * dtype.itemsize, dtype).copy()


def bits(x: jax.Array) -> bytes:
  return np.asarray(x).tobytes()


def test_every_format_is_restored_bit_for_bit(tmp_path):
  host = {name: every_value(name) for name in FORMATS}
  state = {name: jnp.asarray(value) for name, value in host.items()}
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.save(5, state, host, META)
    restored = checkpoints.restore(target_of(state))
  for name, value in host.items():
    assert (
      restored.state[name].dtype == restored.loop[name].dtype == value.dtype
    )
    assert bits(state[name]) == bits(restored.state[name]), name
    assert bits(value) == bits(restored.loop[name]), name


def test_everything_saved_is_restored(tmp_path):
  state, loop = build(), loop_of()
  with Checkpoints(tmp_path / 'checkpoints') as checkpoints:
    assert checkpoints.latest() is None
    assert checkpoints.save(5, state, loop, META)
    restored = checkpoints.restore(target_of(state))
  assert_same(restored.state, state)
  assert_same(restored.loop, loop)
  assert all(type(x) is np.ndarray for x in restored.loop.values())
  assert (restored.meta, restored.step) == (META, 5)
  key = restored.state['key']
  assert jax.random.normal(key) == jax.random.normal(state['key'])


def test_another_process_sees_what_was_saved(tmp_path):
  write(tmp_path, (5, 9))
  with Checkpoints(tmp_path) as checkpoints:
    assert (checkpoints.steps(), checkpoints.latest()) == ([5, 9], 9)
    for step, seed in ((5, 5), (None, 9)):
      restored = checkpoints.restore(target_of(build()), step)
      assert_same(restored.state, build(seed))
      assert_same(restored.loop, loop_of(seed))


def test_a_save_is_of_the_moment_it_was_asked_for(tmp_path):
  add = jax.jit(lambda x: x + 1, donate_argnums=0)
  with Checkpoints(tmp_path) as checkpoints:
    # The first save makes the copies, those after it use their memory again.
    for step in (5, 6, 7):
      state, loop, meta = build(step), loop_of(step), {'log': [1]}
      checkpoints.save(step, state, loop, meta)
      loop['carry/deter'][:] = 0
      meta['log'].append(2)
      add(state['encoder/mlp/layers/0/linear/kernel'])
      restored = checkpoints.restore(target_of(build()))
      assert_same(restored.state, build(step))
      assert_same(restored.loop, loop_of(step))
      assert restored.meta == {'log': [1]}


def test_a_step_appears_when_what_is_written_behind_is_done(tmp_path):
  done, state = threading.Event(), build()
  with Checkpoints(tmp_path) as checkpoints:
    wait = lambda: done.wait(60)
    checkpoints.save(1, state, loop_of(), META, behind=wait)
    time.sleep(1)
    assert not (tmp_path / '1').exists()
    done.set()
    checkpoints.wait()
    assert checkpoint.load_meta(tmp_path) == META


def test_a_step_does_not_appear_where_that_fails(tmp_path):
  def fail():
    raise OSError(28, 'replay file x could not be written (No space left)')

  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, build(), loop_of(), META, behind=fail)
  with pytest.raises(CheckpointError, match=r'step 1 was not saved .* file x'):
    checkpoints.wait()
  assert not (tmp_path / '1').exists()


def test_a_slow_save_is_told_of_once_and_waited_for(tmp_path, caplog):
  done, over, state = threading.Event(), [], build()
  written = lambda: over.append(done.wait(300))
  with Checkpoints(tmp_path, patience=0.2) as checkpoints:
    assert not checkpoints.slow()
    checkpoints.save(1, state, loop_of(), META, behind=written)
    assert checkpoints.slow() and checkpoints.slow()
    assert not over
    assert caplog.text.count('step 1 is still being written') == 1
    done.set()
    checkpoints.save(2, state, loop_of(), META)
    checkpoints.wait()
    assert not checkpoints.slow()
  assert checkpoints.steps() == [1, 2]


def test_files_and_names_are_synced_before_a_step_appears(
  tmp_path, monkeypatch
):
  synced, sync = set(), os.fsync

  def note(descriptor):
    synced.add(Path(f'/proc/self/fd/{descriptor}').resolve())
    sync(descriptor)

  monkeypatch.setattr(os, 'fsync', note)
  write(tmp_path)
  names = {path.name for path in synced}
  items = {'state', 'meta', 'loop'}
  assert items | {'metadata', '_METADATA'} <= names
  assert tmp_path in synced


def test_a_checkpoint_of_version_0_1_is_that_of_one_process(tmp_path):
  counters = {'updates': 3, 'episodes': {'a': 1}, 'envs': {'b': 2}}
  meta = {'counters': counters, 'replay': {'c': 3}, 'config': {}}
  loop = {'obs|x': np.arange(2.0), 'train|latent|y': np.arange(3.0)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, build(), loop, meta)
    restored = checkpoints.restore(target_of(build()))
  assert restored.meta['counters'] == {'updates': 3}
  state = {'episodes': {'a': 1}, 'envs': {'b': 2}, 'replay': {'c': 3}}
  assert restored.meta['processes'] == [state]
  np.testing.assert_array_equal(restored.loop['obs|x'], [[0, 1]])
  np.testing.assert_array_equal(restored.loop['train|dynamics|y'], [0, 1, 2])


def test_an_empty_loop_is_left_out(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, build(), {}, META)
    assert checkpoints.restore(target_of(build())).loop == {}
  assert not (tmp_path / '5' / 'loop').exists()


def test_a_saved_step_is_not_saved_again(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.save(5, build(1), {}, META)
    assert not checkpoints.save(5, build(2), {}, META)
    assert checkpoints.save(np.int64(6), build(3), {}, META)
    assert not checkpoints.save(5, build(2), {}, META)
    restored = checkpoints.restore(target_of(build()), 5)
  assert_same(restored.state, build(1))


def test_closing_again_is_no_error(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, build(), {}, META)
    checkpoints.close()
  assert find(tmp_path) == tmp_path / '5'


def test_an_earlier_step_is_an_error(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, build(), {}, META)
    with pytest.raises(CheckpointError, match='step 4 is older than step 5'):
      checkpoints.save(4, build(), {}, META)


@pytest.mark.parametrize(
  'options, kept',
  [
    ({'keep_last': 1, 'keep_best': False}, [7]),
    ({'keep_last': 3, 'keep_best': False}, [5, 6, 7]),
    ({'keep_last': 1, 'keep_best': False, 'keep_every': 3}, [1, 4, 7]),
    ({'keep_last': 2}, [3, 6, 7]),
    ({'keep_last': 1, 'keep_best': True, 'keep_every': 4}, [1, 3, 5, 7]),
  ],
)
def test_the_last_the_best_and_one_in_every_so_many_are_kept(
  tmp_path, options, kept
):
  returns = {2: 10.0, 3: 30.0, 4: 20.0, 5: float('nan')}
  state = {'updates': jnp.int32(1)}
  for steps in (range(1, 5), range(5, 8)):  # Metrics outlive the process.
    with Checkpoints(tmp_path, **options) as checkpoints:
      for step in steps:
        score = {'eval/return': returns[step]} if step in returns else None
        checkpoints.save(step, state, {}, {}, score)
  assert checkpoints.steps() == kept
  assert sorted(int(path.name) for path in tmp_path.iterdir()) == kept


def test_the_metric_that_ranks_must_be_among_the_metrics(tmp_path):
  with (
    Checkpoints(tmp_path, best_metric='eval/score') as checkpoints,
    pytest.raises(ValueError, match=r"'eval/score': is not among .*: eval/len"),
  ):
    checkpoints.save(5, build(), {}, META, {'eval/length': 3.0})


def changed(**leaves: jax.Array | None) -> dict[str, jax.Array]:
  state = build() | {name.replace('__', '/'): x for name, x in leaves.items()}
  return {name: x for name, x in state.items() if x is not None}


@pytest.mark.parametrize(
  'state, message',
  [
    (
      changed(dynamics__core__kernel=jnp.ones((24, 3))),
      'dynamics/core/kernel is (6, 3), this config builds (24, 3). '
      'Was the size changed?',
    ),
    (
      changed(dynamics__core__kernel=jnp.ones((6, 3), jnp.bfloat16)),
      'dynamics/core/kernel is float32, this config builds bfloat16. '
      'Was the precision changed?',
    ),
    (
      changed(retnorm__lo=None),
      'retnorm/lo is (), this config builds no such leaf. '
      'Was a component or its size changed?',
    ),
    (
      changed(retnorm__hi=jnp.ones(2)),
      'retnorm/hi is missing, this config builds (2,). '
      'Was a component or its size changed?',
    ),
    (
      changed(key=jax.random.key(0, impl='rbg')),
      'key is (2,), this config builds (4,). Was the size changed?',
    ),
  ],
)
def test_a_leaf_that_does_not_fit_is_named(tmp_path, capfd, state, message):
  write(tmp_path)
  capfd.readouterr()
  with pytest.raises(CheckpointError) as error:
    checkpoint.restore(tmp_path, target_of(state))
  assert str(error.value) == f'checkpoint step 5 does not fit: {message}'
  assert capfd.readouterr().err == ''


def test_kinds_of_keys_are_told_apart(tmp_path):
  state = {'key': jax.random.key(1, impl='rbg')}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, state, {}, META)
    other = {'key': jax.random.key(1, impl='unsafe_rbg')}
    with pytest.raises(
      CheckpointError, match=r'Was the kind of PRNG changed\?'
    ):
      checkpoints.restore(target_of(other))
    assert_same(checkpoints.restore(target_of(state)).state, state)


def test_many_leaves_that_do_not_fit_are_counted(tmp_path):
  state = {f'layers/{i:02}/kernel': jnp.ones((i + 1, 2)) for i in range(14)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, state, {}, META)
    bigger = {name: jnp.ones((len(x), 3)) for name, x in state.items()}
    with pytest.raises(CheckpointError) as error:
      checkpoints.restore(target_of(bigger))
  lines = str(error.value).splitlines()
  assert lines[0] == 'checkpoint step 5 does not fit:'
  assert lines[1] == '  layers/00/kernel is (1, 2), this config builds (1, 3)'
  assert (
    lines[10] == '  layers/09/kernel is (10, 2), this config builds (10, 3)'
  )
  assert lines[11:] == ['  and 4 more', 'Was the size changed?']


def test_a_target_needs_shardings(tmp_path):
  write(tmp_path)
  target = {k: jax.eval_shape(lambda x=x: x) for k, x in build().items()}
  with pytest.raises(ValueError, match='target of a restore needs a sharding'):
    checkpoint.restore(tmp_path, target)


def test_a_part_is_restored_by_name(tmp_path):
  write(tmp_path / 'checkpoints')
  target = target_of(changed(encoder__new=jnp.ones(3), updates=jnp.ones(9)))
  part = checkpoint.partial(tmp_path, target, '^(encoder|dynamics)/', 'bias$')
  names = ['dynamics/core/kernel', 'encoder/mlp/layers/0/linear/kernel']
  assert part.loaded == names
  assert part.not_loaded == sorted(target.keys() - set(names))
  assert 'encoder/new' in part.not_loaded
  assert_same(part.state, {name: build(5)[name] for name in names})


def test_a_part_that_does_not_fit_is_an_error(tmp_path):
  write(tmp_path)
  target = target_of(build(units=12))
  with pytest.raises(CheckpointError) as error:
    checkpoint.partial(tmp_path, target, '^encoder/', 'kernel')
  assert str(error.value) == (
    'checkpoint step 5 does not fit: encoder/mlp/layers/0/linear/bias is (6,), '
    'this config builds (12,). Was the size changed?'
  )


def test_a_part_that_matches_nothing_lists_what_there_is(tmp_path):
  write(tmp_path)
  target = target_of(changed(decoder__kernel=jnp.ones(2)))
  for include, exclude in (('^enc/', ''), ('^decoder', ''), ('', '.')):
    with pytest.raises(CheckpointError) as error:
      checkpoint.partial(tmp_path, target, include, exclude)
    assert f'restore_include = {include!r}' in str(error.value)
    assert str(error.value).endswith(
      'The checkpoint holds dynamics/, encoder/, key, optimizer/, retnorm/, '
      'slow_value/, updates.'
    )


@pytest.mark.parametrize('field', ['include', 'exclude'])
def test_an_invalid_expression_is_named(tmp_path, field):
  fields = {'include': 'a', 'exclude': 'b'} | {field: '^(enc'}
  with pytest.raises(ValueError, match=rf"restore_{field} = '\^\(enc': not"):
    checkpoint.partial(tmp_path, target_of(build()), **fields)


def test_meta_needs_a_path_and_nothing_else(tmp_path):
  step = write(tmp_path / 'checkpoints', (5, 9))
  for path in (tmp_path, step.parent, step, str(tmp_path)):
    assert find(path) == step
    assert checkpoint.load_meta(path) == META
  assert find(tmp_path, 5) == find(step.parent / '5') == step.parent / '5'


def test_a_path_without_checkpoint_is_named(tmp_path):
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'file').write_text('text')
  for name, message in (
    ('gone', 'gone does not exist: name a workdir'),
    ('file', 'file is not a directory: name a workdir'),
    ('checkpoints', 'checkpoints holds no checkpoint: name a workdir'),
    ('', 'checkpoints holds no checkpoint: name a workdir'),
    ('checkpoints/1200', '1200 does not exist'),
  ):
    with pytest.raises(CheckpointError, match=message):
      find(tmp_path / name)


def test_a_step_that_is_not_there_lists_those_that_are(tmp_path):
  write(tmp_path, (5, 9))
  with pytest.raises(CheckpointError, match=r'no checkpoint step 7.*: 5, 9\.'):
    find(tmp_path, 7)
  with pytest.raises(CheckpointError, match='no checkpoint step 7'):
    checkpoint.restore(tmp_path / '9', target_of(build()), 7)


def test_a_save_cut_off_by_a_crash_is_no_step(tmp_path):
  write(tmp_path, (5, 9))
  cut_off = tmp_path / '12.orbax-checkpoint-tmp'
  shutil.copytree(tmp_path / '9', cut_off)
  assert find(tmp_path) == tmp_path / '9'
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest() == 9
    assert checkpoints.save(12, build(12), {}, META)
  assert not cut_off.exists()
  restored = checkpoint.restore(tmp_path, target_of(build()))
  assert_same(restored.state, build(12))


def largest(folder: Path) -> Path:
  paths = (path for path in folder.rglob('*') if path.is_file())
  return max(paths, key=lambda path: path.stat().st_size)


def cut(file: Path) -> None:
  file.write_bytes(file.read_bytes()[:-3])


def flip(file: Path) -> None:
  data = bytearray(file.read_bytes())
  data[len(data) // 2] ^= 1
  file.write_bytes(bytes(data))


@pytest.mark.parametrize('item', ['state', 'loop', 'meta'])
@pytest.mark.parametrize(
  'harm, message',
  [(cut, r'has \d+ bytes of'), (Path.unlink, 'missing'), (flip, 'has changed')],
)
def test_a_damaged_file_is_named_and_never_loaded(
  tmp_path, capfd, item, harm, message
):
  step = write(tmp_path, (5, 9))
  file = largest(step / item)
  harm(file)
  capfd.readouterr()
  with pytest.raises(CheckpointError) as error:
    checkpoint.restore(tmp_path, target_of(build()))
  name = file.relative_to(step)
  assert f'step 9 in {tmp_path} is damaged: {name}' in str(error.value)
  error.match(message)
  end = 'Other steps there: 5; --restore_step goes on from one.'
  assert str(error.value).endswith(end)
  assert capfd.readouterr().err == ''
  restored = checkpoint.restore(tmp_path, target_of(build()), 5)
  assert_same(restored.state, build(5))


@pytest.mark.parametrize('item', ['state', 'loop', 'meta'])
def test_a_missing_item_is_named(tmp_path, item):
  step = write(tmp_path)
  shutil.rmtree(step / item)
  with pytest.raises(CheckpointError, match=f'5 in .* is damaged: .?{item}'):
    find(tmp_path)
  with pytest.raises(CheckpointError, match=r'Other steps there: none\.'):
    checkpoint.load_meta(step)


def test_files_are_checked_by_orbax_where_there_is_no_list(tmp_path):
  step = write(tmp_path)
  list_of_files = step / 'files.json'
  assert 'meta/metadata' in json.loads(list_of_files.read_text())
  list_of_files.unlink()
  restored = checkpoint.restore(tmp_path, target_of(build()))
  assert_same(restored.state, build(5))
  cut(step / 'state' / '_METADATA')
  with pytest.raises(CheckpointError, match='is damaged: state cannot be read'):
    checkpoint.restore(tmp_path, target_of(build()))
  cut(step / 'meta' / 'metadata')
  with pytest.raises(CheckpointError, match='is damaged: meta cannot be read'):
    checkpoint.load_meta(tmp_path)


def test_a_list_of_files_that_cannot_be_read_is_named(tmp_path):
  step = write(tmp_path)
  cut(step / 'files.json')
  with pytest.raises(CheckpointError, match=r'files\.json cannot be read'):
    find(tmp_path)


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('text')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'checkpoints'):
    with pytest.raises(CheckpointError, match=f'{path} cannot be written: '):
      Checkpoints(path)


def test_a_directory_that_goes_away_is_named(tmp_path):
  directory = tmp_path / 'checkpoints'
  write(directory)
  with Checkpoints(directory) as checkpoints:
    checkpoints.save(6, build(6), {}, META)
    checkpoints.restore(target_of(build()))
    shutil.rmtree(directory)
    directory.write_text('text')
    with pytest.raises(
      CheckpointError, match=r'step 7 was not saved in .*Not a'
    ):
      checkpoints.save(7, build(7), {}, META)
      checkpoints.wait()


@pytest.fixture
def full_disk():
  """A function from which on files longer than 64 KiB cannot be written."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('then', ['save', 'restore', 'close'])
def test_a_save_that_fails_in_the_background_surfaces(
  tmp_path, full_disk, then
):
  write(tmp_path)
  checkpoints = Checkpoints(tmp_path)
  big = {'kernel': jax.random.normal(jax.random.key(0), (1 << 18,))}
  full_disk()
  assert checkpoints.save(6, big, {}, META)
  with pytest.raises(CheckpointError, match='step 6 was not saved in '):
    match then:
      case 'save':
        checkpoints.save(7, build(7), {}, META)
      case 'restore':
        checkpoints.restore(target_of(build()))
      case 'close':
        checkpoints.close()
  assert checkpoints.steps() == [5]
  assert find(tmp_path) == tmp_path / '5'
  if then != 'close':
    assert checkpoints.save(7, build(7), {}, META)
    checkpoints.close()
    assert find(tmp_path) == tmp_path / '7'


@pytest.mark.parametrize(
  'change, error, message',
  [
    ({'meta': {'a': np.int64(3)}}, TypeError, 'meta must be JSON: .*int64'),
    ({'state': {'a': jnp.ones((0, 3))}}, CheckpointError, r'a is \(0, 3\)'),
    ({'loop': {'o': np.ones((2, 0))}}, CheckpointError, r'o is \(2, 0\)'),
    ({'loop': {'o': np.array([b'x'])}}, CheckpointError, 'dtype |S1'),
    ({'loop': {'o': np.ones(2, ml_dtypes.uint4)}}, CheckpointError, 'uint4'),
    ({'state': {'a': jnp.ones(2, jnp.uint4)}}, CheckpointError, 'uint4'),
    (
      {'loop': {'o': np.array(['x'])}},
      CheckpointError,
      'o is of dtype <U1: checkpoints have no',
    ),
  ],
)
def test_what_cannot_be_saved_is_refused_at_once(
  tmp_path, change, error, message
):
  with Checkpoints(tmp_path) as checkpoints:
    items = {'state': build(), 'loop': loop_of(), 'meta': META} | change
    with pytest.raises(error, match=message):
      checkpoints.save(5, **items)
    assert checkpoints.steps() == []


EIGHT = """
import sys
import jax
import numpy as np
from dreamer_nnx.training import checkpoint

assert jax.device_count() == 8
mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
target = {}
for name, (shape, dtype) in {
  'kernel': ((16, 3), 'float32'),
  'key': ((), jax.random.key(0).dtype),
}.items():
  spec = jax.sharding.PartitionSpec(*(('data',) if shape else ()))
  sharding = jax.sharding.NamedSharding(mesh, spec)
  target[name] = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
with checkpoint.Checkpoints(sys.argv[1]) as checkpoints:
  state = checkpoints.restore(target).state
  assert len(state['kernel'].sharding.device_set) == 8
  assert state['kernel'].addressable_shards[0].data.shape == (2, 3)
  checkpoints.save(6, state, {}, {'devices': jax.device_count()})
"""


def test_one_device_and_eight_read_each_other(tmp_path):
  kernel = jnp.arange(48, dtype=jnp.float32).reshape(16, 3) + 1
  state = {'kernel': kernel, 'key': jax.random.key(3)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, state, {}, META)
  flags = '--xla_force_host_platform_device_count=8'
  env = os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}
  subprocess.run(
    [sys.executable, '-c', EIGHT, str(tmp_path)],
    check=True,
    env=env,
    cwd=Path(__file__).parents[2],
  )
  restored = checkpoint.restore(tmp_path, target_of(state))
  assert (restored.step, restored.meta) == (6, {'devices': 8})
  assert_same(restored.state, state)
