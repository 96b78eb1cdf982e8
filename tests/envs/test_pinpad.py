"""`pinpad`: its rules, and trajectories and pictures of the reference."""

import functools
import json
import os
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx import envs
from dreamer_nnx.envs.pinpad import COLORS, PADS, WALL, PinPad, pinpad, room
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from tests.envs import pinpad_reference

# The reference's embodied/envs/pinpad.py.
FILE = os.environ.get('REFERENCE_PINPAD', '')
STAY, DOWN, UP, RIGHT, LEFT = range(5)
# Checksums of all pictures and rewards of the reference on a tour over its
# pads, by task.
RECORDED = {
  'three': 2362369211,
  'four': 2401516531,
  'five': 2146576725,
  'six': 991229119,
  'seven': 3677609416,
  'eight': 676136707,
}


@functools.cache
def functions(task, length=10_000):
  game = PinPad(task, length)
  return game, jax.jit(game.step), jax.jit(game.observe), jax.jit(game.spawn)


def started(task, x, y):
  game, *_ = functions(task)
  return game.reset(jax.random.key(0)) | {'player': jnp.array([x, y])}


def play(state, actions, task='three'):
  """States and rewards of some actions."""
  _, step, *_ = functions(task)
  found = []
  for index, action in enumerate(actions):
    key = jax.random.key(index)
    state, outcome = step(state, {'action': jnp.int32(action)}, key)
    found.append((state, float(outcome.reward)))
  return found


def tour(task):
  """Actions from tile (5, 6) over the pads in order; the floor is free."""
  tiles, path, place = room(task), [], (5, 6)
  for pad in range(1, tiles.max() + 1):
    steps = route(tiles, place, pad)
    path += [action for action, _ in steps]
    place = steps[-1][1]
  return path


def route(tiles, place, pad):
  """The shortest way over floor, and the pad that is left, to another pad."""
  moves = {DOWN: (0, 1), UP: (0, -1), RIGHT: (1, 0), LEFT: (-1, 0)}
  ways, seen = [(place, [])], {place}
  for (x, y), way in ways:
    for action, (dx, dy) in moves.items():
      new = x + dx, y + dy
      if new in seen or tiles[new] not in (0, tiles[place], pad):
        continue
      seen.add(new)
      longer = [*way, (action, new)]
      if tiles[new] == pad:
        return longer
      ways.append((new, longer))
  raise AssertionError(f'no way to {pad}')


def test_the_pads_in_order_earn_10_and_then_it_begins_anew():
  way = tour('three')
  found = play(started('three', 5, 6), way + [STAY] * 11)
  rewards = [reward for _, reward in found]
  assert rewards == [0.0] * (len(way) - 1) + [10.0] + [0.0] * 11
  solved = found[len(way) - 1][0]
  assert solved['sequence'].tolist() == [1, 2, 3]
  countdowns = [int(x['countdown']) for x, _ in found[len(way) - 1 :]]
  assert countdowns == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
  last = found[len(way) + 8][0]
  assert last['sequence'].tolist() == [1, 2, 3]
  anew = found[len(way) + 9][0]
  pad = room('three')[tuple(anew['player'])]
  assert anew['sequence'].tolist() == [max(pad, 0), 0, 0]


@pytest.mark.parametrize('task', PADS)
def test_every_task_can_be_solved_once_by_its_order(task):
  assert (
    sum(reward for _, reward in play(started(task, 5, 6), tour(task), task))
    == 10
  )


def test_only_the_last_pads_count_and_each_once():
  # From pad 2 to the floor and back, to 1, to 2, to 3.
  game, *_ = functions('three')
  state = started('three', 5, 10)
  state = play(state, [RIGHT, RIGHT, LEFT, LEFT])[-1][0]
  assert state['sequence'].tolist() == [2, 0, 0]
  # To the left of pad 2, up to pad 1, back down, into 2, up to 3.
  way = [LEFT, *[UP] * 6, *[DOWN] * 6, RIGHT, RIGHT]
  assert play(state, way)[-1][0]['sequence'].tolist() == [2, 1, 2]
  way += [*[UP] * 3, *[RIGHT] * 5, *[UP] * 3]
  found = play(state, way)
  assert found[-1][0]['sequence'].tolist() == [1, 2, 3]
  assert found[-1][1] == 10
  assert game.count == 3


def test_walls_stop_the_player():
  found = play(started('three', 1, 12), [LEFT, DOWN, UP])
  assert [x['player'].tolist() for x, _ in found] == [[1, 12], [1, 12], [1, 11]]


def test_it_starts_on_every_tile_but_walls():
  game, *_ = functions('six')
  keys = jax.random.split(jax.random.key(1), 4000)
  places = {tuple(x) for x in np.asarray(jax.vmap(game.spawn)(keys)).tolist()}
  assert places == {tuple(x) for x in np.argwhere(room('six') != WALL).tolist()}


def test_the_picture():
  _, _, observe, _ = functions('three')
  state = started('three', 6, 9) | {'sequence': jnp.array([3, 2, 0])}
  image = np.asarray(observe(state)['image'])
  assert image.shape == (64, 64, 3)
  assert image.dtype == np.uint8
  tile = lambda x, y: image[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].reshape(-1, 3)
  assert (tile(6, 9) == 0).all()
  assert (tile(7, 9) == COLORS[2]).all()
  assert (tile(1, 1) == (255, 229, 229)).all()
  assert (tile(5, 6) == 255).all()
  assert (tile(0, 0) == 192).all()
  assert (tile(1, 14) == COLORS[3]).all()
  assert (tile(3, 14) == COLORS[2]).all()
  assert (tile(5, 14) == 192).all()
  assert (tile(1, 15) == 192).all()
  state |= {'countdown': jnp.int32(1)}
  image = np.asarray(observe(state)['image'])
  assert (tile(5, 6) == (223, 255, 223)).all()


def checksum(task):
  """Of all pictures and rewards of a tour, and of random actions after it."""
  _, step, observe, _ = functions(task)
  state, value = started(task, 5, 6), 0
  actions = actions_of(task)
  for index, action in enumerate(actions):
    key = jax.random.key(index)
    state, outcome = step(state, {'action': jnp.int32(action)}, key)
    image = np.asarray(observe(state)['image'])
    value = zlib.crc32(image.tobytes(), value)
    value = zlib.crc32(np.float32(outcome.reward).tobytes(), value)
  return value


def actions_of(task):
  way = tour(task)
  # After ten more steps it is put on a random tile.
  free = np.random.default_rng(3).integers(0, 5, 9)
  return [STAY, *way, *free.tolist()]


@pytest.mark.parametrize('task', PADS)
def test_pictures_and_rewards_of_the_reference_that_were_recorded(task):
  assert checksum(task) == RECORDED[task]


@pytest.mark.parametrize('task', PADS if FILE else ())
def test_it_goes_the_way_of_the_reference(task, monkeypatch):
  theirs = pinpad_reference.load(FILE, monkeypatch)(task, length=300)
  draws = theirs.random = pinpad_reference.Spawns()
  _, step, observe, spawn = functions(task, 300)
  index_of = lambda place: theirs.spawns.index(tuple(place.tolist()))
  state = started(task, 5, 6)
  draws.index = index_of(np.asarray(state['player']))
  want = theirs.step({'reset': True, 'action': 0})
  np.testing.assert_array_equal(observe(state)['image'], want['image'])
  rng = np.random.default_rng(4)
  way, value = actions_of(task), 0
  for time in range(300):
    action = way[time] if time < len(way) else int(rng.integers(0, 5))
    key = jax.random.key(time)
    draws.index = index_of(np.asarray(spawn(key)))
    state, outcome = step(state, {'action': jnp.int32(action)}, key)
    want = theirs.step({'reset': False, 'action': action})
    np.testing.assert_array_equal(observe(state)['image'], want['image'])
    assert float(outcome.reward) == want['reward']
    assert bool(outcome.truncated) == want['is_last']
    if time < len(way):
      value = zlib.crc32(want['image'].tobytes(), value)
      value = zlib.crc32(want['reward'].tobytes(), value)
  assert value == RECORDED[task]


def test_flags_seeds_and_an_exact_resume():
  choice = Choice(ENV, 'pinpad', task='four', length=3)
  make = lambda seed: envs.make_vector_env(choice, 2, seed)
  env, same, other = make(1), make(1), make(2)
  actions = np.random.default_rng(5).integers(0, 5, (9, 2))
  rows = [
    [x.reset(), *(x.step({'action': a}) for a in actions)]
    for x in (env, same, other)
  ]
  flags = lambda key: [bool(x[key][0]) for x in rows[0]]
  assert flags('is_first') == [True, False, False, False] * 2 + [True, False]
  assert flags('is_last') == [False, False, False, True] * 2 + [False, False]
  assert not any(flags('is_terminal'))
  images = [np.stack([x['image'] for x in row]) for row in rows]
  np.testing.assert_array_equal(images[0], images[1])
  assert (images[0] != images[2]).any()
  assert (images[0][:, 0] != images[0][:, 1]).any()
  saved = json.loads(json.dumps(env.state()))
  other.restore(saved)
  after = [x.step({'action': np.array([1, 3])}) for x in (env, other)]
  for key in after[0]:
    np.testing.assert_array_equal(after[0][key], after[1][key])


def test_fields_out_of_range():
  with pytest.raises(ValueError, match=r"config.env.pinpad.task = 'nine'"):
    envs.make_vector_env(Choice(ENV, 'pinpad', task='nine'), 1, 0)
  with pytest.raises(ValueError, match=r'config.env.pinpad.length = 0'):
    envs.make_vector_env(Choice(ENV, 'pinpad', length=0), 1, 0)


def test_it_is_built_by_its_function():
  assert pinpad(num_envs=1, seed=0).obs_space['image'].shape == (64, 64, 3)
