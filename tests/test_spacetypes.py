"""Types of spaces with and without gymnasium, and as JSON."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces as gym_spaces

from dreamer_nnx import spacetypes

NESTED = gym_spaces.Dict(
  {
    'box': gym_spaces.Box(-1, 1, (3,), np.float32),
    'free': gym_spaces.Box(-np.inf, np.inf, (), np.float64),
    'bounds': gym_spaces.Box(np.array([0.1, -np.inf]), np.array([1, 2.5])),
    'image': gym_spaces.Box(0, 255, (4, 5, 3), np.uint8),
    'class': gym_spaces.Discrete(3, start=-1),
    'byte': gym_spaces.Discrete(3, dtype=np.uint8),
    'many': gym_spaces.Tuple(
      [gym_spaces.MultiDiscrete([2, 5]), gym_spaces.MultiBinary(4)]
    ),
  }
)
PLAIN = """
import json, sys
from dreamer_nnx import native, spaces, spacetypes
space = spacetypes.from_json(json.loads(sys.argv[1]))
flat = spaces.normalize(space, 'here', 'vector')
assert 'gymnasium' not in sys.modules
result = {key: spacetypes.to_json(x) for key, x in flat.spaces.items()}
print(json.dumps(result))
"""


class OurBox(gym_spaces.Box):
  pass


def test_a_space_survives_json():
  text = json.dumps(spacetypes.to_json(NESTED), allow_nan=False)
  back = spacetypes.from_json(json.loads(text))
  assert isinstance(back, gym_spaces.Dict)
  assert back == NESTED


def test_the_same_is_read_without_gymnasium():
  from dreamer_nnx import spaces

  text = json.dumps(spacetypes.to_json(NESTED))
  done = subprocess.run(
    [sys.executable, '-c', PLAIN, text], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  flat = spaces.normalize(NESTED, 'here', 'vector').spaces
  want = {key: spacetypes.to_json(x) for key, x in flat.items()}
  assert json.loads(done.stdout) == want


def test_kinds_are_those_of_base_classes():
  assert spacetypes.kind(OurBox(0, 1, (2,))) == 'Box'
  assert spacetypes.kind(spacetypes.Discrete(2)) == 'Discrete'
  assert spacetypes.kind(gym_spaces.Text(3)) == 'Text'


def test_spaces_made_beside_gymnasium_are_gymnasiums():
  assert isinstance(spacetypes.scalar(), gymnasium.spaces.Box)
  assert spacetypes.image((2, 3, 1)).dtype == np.uint8


def test_plain_spaces_are_equal_by_value():
  assert spacetypes.Box(0, 1, (2,)) == spacetypes.Box([0, 0], [1, 1])
  assert spacetypes.Box(0, 1, (2,)) != spacetypes.Box(0, 2, (2,))
  assert spacetypes.Box(0, 1, (2,)) == gym_spaces.Box(0, 1, (2,))


@pytest.mark.parametrize(
  'described',
  [
    None,
    {},
    {'kind': 'Text'},
    {'kind': 'Box', 'shape': [2], 'dtype': 'float32', 'low': [0], 'high': 1},
    {'kind': 'Box', 'shape': [-2], 'dtype': 'float32', 'low': 0, 'high': 1},
    {'kind': 'Box', 'shape': [2**40], 'dtype': 'int8', 'low': 0, 'high': 1},
    {'kind': 'Box', 'shape': [1], 'dtype': 'no', 'low': 0, 'high': 1},
    {'kind': 'Discrete', 'n': 'x', 'start': 0},
  ],
)
def test_what_describes_no_space_is_refused(described):
  with pytest.raises(ValueError):
    spacetypes.from_json(described)


def test_endless_nesting_is_refused():
  described = {'kind': 'MultiBinary', 'shape': [1]}
  for _ in range(20):
    described = {'kind': 'Tuple', 'spaces': [described]}
  with pytest.raises(ValueError):
    spacetypes.from_json(described)
