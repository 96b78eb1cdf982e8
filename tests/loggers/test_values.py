import jax.numpy as jnp
import numpy as np

from dreamer_nnx.loggers.values import scalars, videos
from tests.loggers.videos import moving_square


def test_scalars_become_python_numbers():
  metrics = {
    'float': 1.5,
    'int': 3,
    'flag': np.bool_(True),
    'float32': np.float32(0.25),
    'rank0': np.array(7, np.int64),
    'bfloat16': jnp.bfloat16(2.5),
    'device': jnp.float32(4.5),
  }
  found = scalars(metrics)
  assert found == {
    'float': 1.5,
    'int': 3,
    'flag': 1,
    'float32': 0.25,
    'rank0': 7,
    'bfloat16': 2.5,
    'device': 4.5,
  }
  assert {type(value) for value in found.values()} == {int, float}


def test_what_is_no_scalar_is_left_out():
  metrics = {
    'text': 'a',
    'none': None,
    'vector': np.ones(1),
    'list': [1.0],
    'complex': np.complex64(1j),
    'string': np.array('a'),
    'video': moving_square(2, 3),
  }
  assert scalars(metrics) == {}


def test_videos_are_found_among_other_arrays():
  metrics = {
    'rgb': moving_square(2, 3),
    'gray': moving_square(2, 1),
    'float': np.ones((2, 4, 4, 3), np.float32),
    'two': np.ones((2, 4, 4, 2), np.uint8),
    'image': np.ones((4, 4, 3), np.uint8),
    'empty': np.ones((0, 4, 4, 3), np.uint8),
    'scalar': 1.0,
  }
  assert sorted(videos(metrics)) == ['gray', 'rgb']
