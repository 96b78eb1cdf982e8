"""The random streams of a run: one table, and their keys and seeds.

Every stream has a number. A key is that of the seed, folded with the number of
its stream and then with what tells its draws apart; a seed is a hash of the
same. As `split(k)[i] == fold_in(k, i)`, nothing is split or drawn from a key
that is folded too, and no other key is made of a seed.

Of the key of initial parameters every component has one of its own, which is
folded with its config path: so neither the order of building, nor what else is
built, changes what a component begins with.
"""

import collections
import enum
import weakref
import zlib
from typing import TYPE_CHECKING

import jax
import numpy as np

if TYPE_CHECKING:
  from flax import nnx

# Both ends of what JAX's keys, and the seeds of environments, can hold.
LIMIT, SEED_LIMIT = 2**32, 2**31


@enum.unique
class Stream(enum.IntEnum):
  """Sources of randomness; comments name what is folded in after the number."""

  # Keys.
  INIT = 1  # config paths, then a count of the arrays: initial parameters
  UPDATE = 2  # updates: the draws of a loss
  ACT = 3  # process, env_steps
  REPORT = 4  # env_steps
  EVALUATE = 5  # process, steps; the same in every evaluation
  GAME = 6  # environment, then a chain: games in JAX, from the seed they get
  # Seeds of numpy and of environments.
  ENVS = 7  # process, env_steps at the start: what `make_envs` hands on
  EVALUATION_ENVS = 8  # process
  REPLAY = 9  # process
  SHARED_REPLAY = 10  # saves: a share of another run's, from its seed
  MAKE = 11  # environment, or the seed of CRASH or REPLACEMENT: for a maker
  RESET = 12  # environment: its first reset
  CRASH = 13  # the reset after a crash, from the seed before it
  REPLACEMENT = 14  # the reset after the loss of a worker, likewise
  AGAIN = 15  # how often: all streams anew
  # Keys, of what is not a run.
  POLICY = 16  # steps: a policy that was loaded
  DREAM = 17  # calls: a world model that was loaded


def key(seed: int, stream: Stream, *path: int) -> jax.Array:
  """The key of a stream, or of what `path` names in it.

  Raises:
    ValueError: A number is below 0 or needs more than 32 bits.
  """
  result = jax.random.key(_checked(seed))
  for number in (stream, *path):
    result = jax.random.fold_in(result, _checked(number))
  return result


def at(key: jax.Array, path: str) -> jax.Array:
  """The key of a component, whatever others there are beside it.

  Args:
    path: Its config path or another name; hashed by CRC-32.
  """
  return jax.random.fold_in(key, zlib.crc32(path.encode()))


# How often each path was asked for, of the random streams of an owner.
_asked = weakref.WeakKeyDictionary()


def rngs_at(rngs: 'nnx.Rngs', path: str) -> 'nnx.Rngs':
  """The random streams of a component, whatever `rngs` has drawn before.

  Asked again for the same path it returns others, so that the members of an
  ensemble differ.

  Args:
    rngs: Those of the component's owner; the key is that of `params`.
    path: The config path of the component.
  """
  # Imported here because the processes of environments need no NNX.
  from flax import nnx

  counts = _asked.setdefault(rngs, collections.Counter())
  counts[path] += 1
  place = path if counts[path] == 1 else f'{path} {counts[path]}'
  return nnx.Rngs(at(rngs.params.key[...], place))


def seed(seed: int, stream: Stream, *path: int) -> int:
  """A seed below 2**31 from another one.

  Raises:
    ValueError: As for `key`.
  """
  numbers = [_checked(x) for x in (stream, *path)]
  mixed = np.random.SeedSequence(_checked(seed), spawn_key=numbers)
  return int(mixed.generate_state(1)[0]) % SEED_LIMIT


def seed_of_start(given: int, count: int) -> int:
  """The seed of all streams at the count-th new start; at 0 the one given."""
  return seed(given, Stream.AGAIN, count) if count else given


def _checked(number: int) -> int:
  """Refuses numbers that JAX would cut off, so that they equal smaller ones."""
  number = int(number)
  if not 0 <= number < LIMIT:
    raise ValueError(f'config.seed = {number}: must be in [0, 2**32).')
  return number
