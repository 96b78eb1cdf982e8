"""Names and kinds of an agent's arrays, and which of them acting reads."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import Jaxpr, Var

from dreamer_nnx import spaces
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.nn.slow_copy import SlowParam

Array = jax.Array
State = dict[str, Array]
MODES = ('sample', 'mode')


def unchecked(agent: Agent) -> None:
  """Accepts an agent as it is."""


def module_of(name: str) -> str:
  """The module that an array belongs to, for tables: `encoder`.

  Of the behaviour and the objectives it is a part: `behavior/policy`.
  """
  first, *rest = name.split('/')
  parts = first in ('behavior', 'objectives') and len(rest) > 1
  return f'{first}/{rest[0]}' if parts else first


class Layout:
  """Names, shapes, axes and kinds of an agent's arrays, without any values.

  Args:
    make_agent: Builds the agent from random streams.
    check: Called once with the agent, without values.
  """

  def __init__(
    self,
    make_agent: Callable[[nnx.Rngs], Agent],
    check: Callable[[Agent], None] = unchecked,
  ):
    def checked() -> Agent:
      agent = make_agent(nnx.Rngs(0))
      check(agent)
      return agent

    abstract = nnx.eval_shape(checked)
    self.graphdef, state = nnx.split(abstract)
    flat = nnx.to_flat_state(state)
    self.paths = {'/'.join(map(str, path)): path for path, _ in flat}
    arrays = dict(zip(self.paths, (v for _, v in flat), strict=True))
    self.shapes = {
      name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in arrays.items()
    }
    self.axes = {k: v.get_metadata().get('axes') for k, v in arrays.items()}
    self.trained = tuple(
      name for name, v in arrays.items() if isinstance(v, nnx.Param)
    )
    self.statistics = tuple(
      name
      for name, v in arrays.items()
      if not isinstance(v, nnx.Param | SlowParam)
      and jnp.issubdtype(v.dtype, jnp.inexact)
    )
    self.obs_space = dict(abstract.obs_space)
    self.action_space = dict(abstract.action_space)
    dynamics, behavior = abstract.dynamics, abstract.behavior
    self.entry_space = dict(dynamics.entry_space)
    self.extra_space = dict(behavior.extra_space)
    self.context = dynamics.context
    self.signals = ('model', *behavior.signals)
    self.notes = tuple(getattr(abstract.decoder, 'notes', ()))

  @property
  def acting(self) -> frozenset[str]:
    """Names of the arrays that acting reads, in either mode."""
    return self._read[0]

  @property
  def observing(self) -> frozenset[str]:
    """Keys of the observations that acting reads, in either mode."""
    return self._read[1]

  @functools.cached_property
  def _read(self) -> tuple[frozenset[str], frozenset[str]]:
    arrays, keys = zip(*(self._reads(mode) for mode in MODES), strict=True)
    return frozenset().union(*arrays), frozenset().union(*keys)

  def _reads(self, mode: str) -> tuple[set[str], set[str]]:
    act = lambda agent, obs, key: agent.act(agent.initial(1), obs, key, mode)
    obs = self.observed(1)
    flags = self._read_flags(act, obs, jax.random.key(0))
    # In the order of the inputs: arrays, then observations.
    return _named(self.shapes, flags), _named(obs, flags[len(self.shapes) :])

  def read_by(
    self, function: Callable[..., Any], *given: Any
  ) -> frozenset[str]:
    """Names the arrays that a function of the agent and of arrays reads."""
    return frozenset(_named(self.shapes, self._read_flags(function, *given)))

  def _read_flags(
    self, function: Callable[..., Any], *given: Any
  ) -> Sequence[bool]:
    """Tells of each array, and each of what is given, whether it is read."""

    def call(arrays: State, given: tuple) -> Any:
      return function(self.merge(arrays), *given)

    return used_inputs(jax.make_jaxpr(call)(self.shapes, given).jaxpr)

  def observed(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what `Agent.act` is told of so many environments."""
    struct = jax.ShapeDtypeStruct
    return {
      key: struct((rows, *space.shape), spaces.data_type(space))
      for key, space in self.obs_space.items()
    } | {'is_first': struct((rows,), bool)}

  def flatten(self, agent: Agent) -> State:
    flat = nnx.to_flat_state(nnx.state(agent))
    return {'/'.join(map(str, path)): v[...] for path, v in flat}

  def merge(self, arrays: Mapping[str, Array]) -> Agent:
    """An agent of these arrays; KeyError unless the names are exactly its."""
    if arrays.keys() != self.paths.keys():
      raise KeyError(sorted(arrays.keys() ^ self.paths.keys()))
    leaves = [(path, arrays[name]) for name, path in self.paths.items()]
    return nnx.merge(self.graphdef, nnx.from_flat_state(leaves))

  def partial(self, arrays: Mapping[str, Array]) -> Agent:
    """An agent whose other arrays are zeros, for functions that ignore them."""
    return self.merge(
      {
        name: arrays[name] if name in arrays else jnp.zeros(s.shape, s.dtype)
        for name, s in self.shapes.items()
      }
    )


def used_inputs(jaxpr: Jaxpr) -> list[bool]:
  """Tells which inputs of a program its results depend on.

  An equation that is needed is taken to need all of its inputs.
  """
  live = {v for v in jaxpr.outvars if isinstance(v, Var)}
  for equation in reversed(jaxpr.eqns):
    if equation.effects or any(v in live for v in equation.outvars):
      live |= {v for v in equation.invars if isinstance(v, Var)}
  return [v in live for v in jaxpr.invars]


def _named(arrays: Mapping[str, Any], flags: Iterable[bool]) -> set[str]:
  """The names, in the order of a tree's leaves, whose flags are set."""
  names = jax.tree.leaves({name: name for name in arrays})
  return {name for name, flag in zip(names, flags, strict=False) if flag}
