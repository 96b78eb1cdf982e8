"""Environments written in JAX, stepped together on the CPU."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import spaces, spacetypes, streams
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.interface import Bounds, Interface
from dreamer_nnx.streams import Stream

Array = jax.Array
State = dict[str, Array]

_FLAGS = ('reward', 'is_first', 'is_last', 'is_terminal')


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outcome:
  """The result of a step; scalars."""

  reward: Array
  terminated: Array
  truncated: Array


class JaxEnv(Protocol):
  """One environment as pure functions of a state (a flat dict of arrays).

  It must be hashable by value (a frozen dataclass of its fields), so that
  equal environments share their compiled code.
  """

  obs_space: dict[str, gymnasium.Space]
  action_space: dict[str, gymnasium.Space]

  def reset(self, key: Array) -> State: ...
  def observe(self, state: State) -> dict[str, Array]: ...
  def step(
    self, state: State, action: dict[str, Array], key: Array
  ) -> tuple[State, Outcome]: ...


class JaxVectorEnv:
  """W copies of a `JaxEnv` behind the `VectorEnv` interface.

  Each has its own stream of keys, folded from (seed, index), so a copy goes
  the same way however many there are. `state` and `restore` resume exactly.
  Continuous actions are presented as [-1, 1]; see `interface.Bounds`.
  """

  repeat = 1

  def __init__(self, env: JaxEnv, num_envs: int, seed: int) -> None:
    self.num_envs = num_envs
    self.obs_space = dict(env.obs_space)
    self._bounds = {
      key: Bounds.of(space)
      for key, space in env.action_space.items()
      if not spaces.is_discrete(space)
    }
    # The numbers of classes, as arrays that fit the actions.
    self._counts = {
      key: np.uint32(spaces.classes(space)).reshape(space.shape)
      for key, space in env.action_space.items()
      if key not in self._bounds
    }
    scaled = {key: bounds.scaled for key, bounds in self._bounds.items()}
    self.action_space = {**env.action_space, **scaled}
    types = spacetypes.types()
    self.interface = Interface(
      types.Dict(dict(env.obs_space)), types.Dict(dict(env.action_space))
    )
    self._device = device()
    self._seed = seed
    self._env = env
    self._carry = None

  def reset(self) -> dict[str, np.ndarray]:
    """Starts an episode in every environment, from the seed."""
    self._carry = self._first()
    return _host(_observe(self._env, self._carry))

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Takes (W,) actions; see `VectorEnv`.

    Raises:
      EnvError: If `reset` or `restore` has not been called, or an action has
        another shape or is no class of its space.
    """
    if self._carry is None:
      raise EnvError('call reset before step.')
    actions = {key: self._action(key, action) for key in self.action_space}
    self._carry, step = _advance(self._env, self._carry, actions)
    return _host(step)

  def close(self) -> None:
    """Does nothing: no resources are held outside this process."""

  def state(self) -> dict[str, Any] | None:
    """JSON-able; None before the first reset."""
    if self._carry is None:
      return None
    key = jax.random.key_data(self._carry['key'])
    lists = lambda tree: jax.tree.map(lambda x: np.asarray(x).tolist(), tree)
    return lists({**self._carry, 'key': key})

  def restore(self, state: dict[str, Any]) -> None:
    """Continues exactly where `state` was taken.

    Raises:
      ValueError: If the state is of another environment or number of them.
    """
    like = self._first()
    like['key'] = jax.random.key_data(like['key'])
    carry = jax.device_put(_load(state, like, 'state'), self._device)
    carry['key'] = jax.random.wrap_key_data(carry['key'])
    self._carry = carry

  def stats(self) -> dict[str, float]:
    """Returns no metrics, for these environments do not crash."""
    return {'env/restarts': 0.0}

  def _first(self):
    with jax.default_device(self._device):
      key = streams.key(self._seed, Stream.GAME)
    key = jax.device_put(key, self._device)
    return _start(self._env, self.num_envs, key)

  def _action(self, key, action):
    if key not in action:
      raise EnvError(f'the action {key!r} is missing, got {sorted(action)}.')
    value = np.asarray(action[key])
    space = self.action_space[key]
    if value.shape != (self.num_envs, *space.shape):
      raise EnvError(
        f'the action {key!r} has the shape {value.shape}, expected '
        f'{(self.num_envs, *space.shape)}.'
      )
    if key not in self._bounds:
      return self._classes(key, value)
    native = self._bounds[key].native(value)
    return native.astype(self._env.action_space[key].dtype)

  def _classes(self, key, given):
    value, counts = given.astype(np.int32), self._counts[key]
    # A number below 0 is a large one here.
    fits = (value.view(np.uint32) < counts).all()
    if not fits or (given.dtype != np.int32 and (value != given).any()):
      raise EnvError(
        f'the action {key!r} is {given!r:.200}, not classes from 0 to '
        f'{counts - 1}.'
      )
    return value


@functools.partial(jax.jit, static_argnums=(0, 1))
def _start(env, num_envs, key):
  fold = lambda index: jax.random.fold_in(key, index)
  begin = lambda index: _begin(env, *jax.random.split(fold(index)))
  return jax.vmap(begin)(jnp.arange(num_envs))


@functools.partial(jax.jit, static_argnums=0)
def _advance(env, carry, action):
  carry = jax.vmap(functools.partial(_advance_one, env))(carry, action)
  return carry, _observe(env, carry)


@functools.partial(jax.jit, static_argnums=0)
def _observe(env, carry):
  flags = {key: carry[key] for key in _FLAGS}
  return {**jax.vmap(env.observe)(carry['state']), **flags}


def _begin(env, key, sub):
  return {
    'key': key,
    'state': env.reset(sub),
    'reward': jnp.float32(0),
    'is_first': jnp.array(True),
    'is_last': jnp.array(False),
    'is_terminal': jnp.array(False),
  }


def _advance_one(env, carry, action):
  """One step of one environment; the step after the last one is a reset."""
  over = carry['is_last']
  key, start, move = jax.random.split(carry['key'], 3)
  fresh = _begin(env, key, start)
  state, outcome = env.step(carry['state'], action, move)
  after = {
    'key': key,
    'state': state,
    'reward': outcome.reward.astype(jnp.float32),
    'is_first': jnp.array(False),
    'is_last': outcome.terminated | outcome.truncated,
    'is_terminal': outcome.terminated,
  }
  choose = lambda a, b: a if a is b else jnp.where(over, a, b)
  return jax.tree.map(choose, fresh, after)


def _host(step):
  """Copies in numpy: views of JAX's arrays could not be written to."""
  return {key: np.array(value) for key, value in step.items()}


def _load(saved, like, where):
  """Nested lists as arrays of the types and shapes of another tree."""
  if isinstance(like, dict):
    if not isinstance(saved, dict) or set(saved) != set(like):
      got = sorted(saved) if isinstance(saved, dict) else type(saved).__name__
      raise ValueError(
        f'the saved environment does not fit: {where} has {got}, this one '
        f'{sorted(like)}. Was config.env changed?'
      )
    return {k: _load(saved[k], v, f'{where}/{k}') for k, v in like.items()}
  array = np.asarray(saved, like.dtype)
  if array.shape != like.shape:
    raise ValueError(
      f'the saved environment does not fit: {where} is {array.shape}, this '
      f'one {like.shape}. Was the number of environments changed?'
    )
  return array


def device() -> jax.Device:
  """Chooses the device that computes games: the CPU, for they are small.

  If JAX_PLATFORMS leaves the CPU out, it is the first device there is.
  """
  try:
    return jax.local_devices(backend='cpu')[0]
  except RuntimeError:
    return jax.local_devices()[0]
