"""Trained agents from checkpoints, without environments or replay."""

import functools
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from dreamer_nnx import compat, paths
from dreamer_nnx import config as configs
from dreamer_nnx.agent.build import build
from dreamer_nnx.interface import Interface
from dreamer_nnx.registry import fields
from dreamer_nnx.training import checkpoint_reading as reading
from dreamer_nnx.training.checkpoint_files import CheckpointError
from dreamer_nnx.training.layout import Layout, State


class Trained:
  """An agent that a checkpoint holds; its arrays are loaded when asked for.

  Args:
    source: A workdir, its folder of checkpoints, or one step in that.
    step: Which step, where the source does not say; by default the latest.
    trust_config: Whether the config in it may import code that is not of this
      package.

  Raises:
    CheckpointError: There is no such step, or it is damaged.
    UntrustedError: The config names code, and is not trusted; nothing was
      imported.
  """

  def __init__(
    self,
    source: str | paths.Path,
    *,
    step: int | None = None,
    trust_config: bool = False,
  ):
    self.root = reading.find(paths.parse(str(source), 'checkpoint'), step)
    self.meta = reading.load_meta(self.root)
    self.parts = _agent_parts(self.meta, trust_config)
    self.interface = _interface(self.root, self.meta, trust_config)
    spaces = self.interface.obs_space, self.interface.action_space
    parts = {name: self.parts[name] for name in fields(build)}
    self.layout = Layout(lambda rngs: build(*spaces, **parts, rngs=rngs))

  @property
  def seed(self) -> int:
    """The seed of the run."""
    seed = self.meta['config'].get('seed', 0)
    return seed if isinstance(seed, int) else 0

  @functools.cached_property
  def unread(self) -> frozenset[str]:
    """Observations that acting does not read, such as labels for losses."""
    return frozenset(self.interface.obs_space) - self.layout.observing

  def arrays(self, names: Iterable[str]) -> State:
    """Loads arrays of the agent by name, onto the first device.

    Raises:
      CheckpointError: They are not there, or of another shape or format.
    """
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    struct = functools.partial(jax.ShapeDtypeStruct, sharding=device)
    shapes = {name: self.layout.shapes[name] for name in sorted(names)}
    target = {k: struct(x.shape, x.dtype) for k, x in shapes.items()}
    return reading.arrays(self.root, target)

  def compiled(
    self, function: Callable[..., Any], *static: str
  ) -> Callable[..., Any]:
    """Compiles a function of the agent and of arrays.

    Args:
      static: Arguments, passed by name, that are no arrays.

    Returns:
      The function; in place of the agent it takes the arrays that are read.
    """

    def call(arrays: State, *given: Any, **fixed: Any) -> Any:
      return function(self.layout.partial(arrays), *given, **fixed)

    return jax.jit(call, static_argnames=static)

  def compiled_on_arrays(
    self, function: Callable[..., Any]
  ) -> Callable[..., Any]:
    """Compiles a function of arrays alone, which makes the agent itself."""
    return jax.jit(function)

  def __str__(self) -> str:
    return f'step {self.root.name} in {self.root.parents[1]}'


def _agent_parts(meta: Mapping[str, Any], trusted: bool) -> configs.Bound:
  """Binds the sections of a saved config that the agent is built from."""
  tree = {'plugins': (), **fields(build)}
  saved = compat.config(meta['config'])
  text = json.dumps({key: x for key, x in saved.items() if key in tree})
  config = configs.from_json(text, tree, trust_config=trusted)
  if _names_code(config.to_dict()):
    # Components of others may ask what type of gymnasium's a space is.
    importlib.import_module('gymnasium')
  return configs.bind_all(config, tree)


def _names_code(config: Any) -> bool:
  """Tells whether a config names plugins, or components by their module."""
  if not isinstance(config, Mapping):
    return False
  if config.get('plugins') or ':' in str(config.get('name', '')):
    return True
  if any(':' in str(name) for name in config.get('names', ())):
    return True
  return any(map(_names_code, config.values()))


def _interface(
  root: paths.Path, meta: Mapping[str, Any], trusted: bool
) -> Interface:
  """Interface of the environment, as saved; or it is made and asked."""
  if 'interface' not in meta:
    return _asked(root, trusted)
  try:
    found = Interface.from_json(meta['interface'])
    # What cannot be read is known now.
    _ = found.obs_space, found.action_space
    return found
  except ValueError as error:
    raise CheckpointError(
      f'checkpoint step {root.name} in {root.parents[1]}: its interface cannot '
      f'be read ({error}).'
    ) from error


def _asked(root: paths.Path, trusted: bool) -> Interface:
  # Imported here, for these bring environments and replay.
  from dreamer_nnx import interface, saved
  from dreamer_nnx.envs.make import make_vector_env
  from dreamer_nnx.notices import warn_once

  warn_once(
    f'checkpoint step {root.name} in {root.parents[1]} is of a version that '
    'did not save the spaces of its environment, which is made to ask for them.'
  )
  config = saved.saved_config(root, trust_config=trusted)
  envs = make_vector_env(configs.bind_all(config)['env'], 1, 0)
  try:
    return interface.of(envs)
  finally:
    envs.close()
