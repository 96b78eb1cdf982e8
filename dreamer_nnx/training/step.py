"""Compiled functions over one flat state: init, policy, train_step, report.

They are those of `pure`, for a mesh.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from dreamer_nnx import contracts, streams
from dreamer_nnx.agent.agent import Agent, Carry
from dreamer_nnx.streams import Stream
from dreamer_nnx.training.divergence import labels, losses_of
from dreamer_nnx.training.layout import State, unchecked
from dreamer_nnx.training.pure import SMALL, Pure
from dreamer_nnx.training.sharding import Sharding, local_copy

Array = jax.Array
# For what runs once: its compilation takes longer than its run.
FAST_COMPILE = {'xla_backend_optimization_level': 0}


class Learner:
  """An agent and its optimiser, compiled for a mesh.

  Args:
    make_agent: Builds the agent from random streams.
    optimizer: Transformation over the flat dict of trained parameters.
    sharding: The mesh, and what of it is split over what.
    batch_length: T, steps of a window to train on; any before are context.
    loss_scaling: Scales the loss dynamically, for float16.
    check: Called once with the agent, without values.
  """

  def __init__(
    self,
    make_agent: Callable[[nnx.Rngs], Agent],
    optimizer: optax.GradientTransformation,
    sharding: Sharding,
    *,
    batch_length: int,
    loss_scaling: bool = False,
    check: Callable[[Agent], None] = unchecked,
  ):
    self.pure = Pure(
      make_agent,
      optimizer,
      batch_length=batch_length,
      loss_scaling=loss_scaling,
      check=check,
    )
    self.layout, self.sharding = self.pure.layout, sharding
    self.axes = self.pure.axes
    self._losses: list[str] = []
    self._compile()

  def _compile(self) -> None:
    joined = frozenset(
      name
      for name in self.pure.small
      if self.abstract[name].sharding.is_fully_replicated
    )
    every, rows = self.sharding.replicated, self.sharding.batch
    stored = {name: x.sharding for name, x in self.abstract.items()}
    self._init = jax.jit(
      self.pure.init, out_shardings=stored, compiler_options=FAST_COMPILE
    )
    self._start = jax.jit(self.pure.initial, static_argnums=0)
    self._start_rows = jax.jit(
      self.pure.initial, static_argnums=0, out_shardings=rows
    )
    gather = self._gathered_state
    self._train = jax.jit(
      functools.partial(self.pure.update, gather=gather, joined=joined),
      donate_argnums=0,
      out_shardings=(stored, rows, rows, every),
    )
    self._act = jax.jit(self.pure.act, static_argnames='mode')
    self._copy = jax.jit(lambda arrays: jax.tree.map(jnp.copy, arrays))
    self._gather = jax.jit(lambda arrays: arrays, out_shardings=every)
    self._report = jax.jit(
      functools.partial(self.pure.report, gather=gather), out_shardings=every
    )

  @functools.cached_property
  def abstract(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape, format and placement of every array of the state."""
    shapes = jax.eval_shape(self.pure.init, *_first_keys(0))
    return {
      name: jax.ShapeDtypeStruct(
        x.shape,
        x.dtype,
        sharding=self.sharding.stored(x.shape, self.axes.get(name)),
      )
      for name, x in shapes.items()
    }

  def unsplit(self) -> list[str]:
    """A line for each array that the rules would split and do not."""
    lines = []
    for name, shape in self.layout.shapes.items():
      axes = self.layout.axes[name]
      reasons = self.sharding.unsplit(shape.shape, axes)
      # Statistics are few numbers, and have no names.
      if axes or shape.size > SMALL:
        lines += [f'  {name} {shape.shape}: {reason}' for reason in reasons]
    return lines

  def init(self, seed: int) -> State:
    """The state before the first update, born on the mesh."""
    return self._init(*_first_keys(seed))

  def reseeded(self, state: State, seed: int) -> State:
    """The state with the key of another seed."""
    _, key = _first_keys(seed)
    return state | self._gather({'key': key})

  def initial(self, batch_size: int) -> Carry:
    """The carry of so many rows before an episode, for `policy`."""
    return self.place(self._start(batch_size))

  def abstract_carry(self, batch_size: int) -> Carry:
    """Shapes and formats of a carry."""
    return jax.eval_shape(lambda: self.pure.initial(batch_size))

  def place(self, carry: Carry) -> Carry:
    """A carry where `policy` leaves it, or it would be compiled once more."""
    return jax.device_put(carry, self.sharding.local_device)

  def initial_rows(self, batch_size: int) -> Carry:
    """The carry of a whole batch before an episode, for `train_step`."""
    return self._start_rows(batch_size)

  def acting(self, state: State, names: Collection[str] | None = None) -> State:
    """The part of the state that `policy` needs, on one device.

    Valid until the state is consumed. What is split is gathered by all devices
    together, and each process keeps one copy: ask once for each state.

    Args:
      names: Arrays to take instead.
    """
    names = self.layout.acting if names is None else names
    part = {name: state[name] for name in names}
    split = {k: x for k, x in part.items() if not x.is_fully_replicated}
    part |= self._gather(split) if split else {}
    return {name: local_copy(x) for name, x in part.items()}

  def published(self, state: State) -> State:
    """Copies of what `acting` returns, when they are there.

    They outlive the state, so that one thread acts while another one updates.
    """
    return jax.block_until_ready(self._copy(self.acting(state)))

  def policy(
    self,
    acting: State,
    carry: Carry,
    obs: Mapping[str, Any],
    key: Array,
    count: int,
    mode: str = 'sample',
  ) -> tuple[Carry, contracts.Action, dict[str, Array]]:
    """Acts once, on one device; see `Agent.act`.

    Args:
      acting: Result of the method `acting`.
      key, count: Key of the run, and number of this draw in it.
    """
    return self._act(acting, carry, dict(obs), key, count, mode=mode)

  def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of the agent and of arrays, for one device.

    Returns:
      The function; in place of the agent it takes the arrays that it reads.
    """

    def call(arrays: State, *given: Any) -> Any:
      return function(self.layout.partial(arrays), *given)

    return jax.jit(call)

  def train_step(
    self, state: State, carry: Carry, batch: Mapping[str, Any]
  ) -> tuple[State, Carry, dict[str, Array], dict[str, Array]]:
    """Makes one update. The state given is consumed.

    Args:
      state: Result of `init` or of the last update.
      carry: (B, ...), from `initial` or the last update.
      batch: (B, context + T, ...), see `Agent.loss`.

    Returns:
      State; carry; what replay is told: `latent/*` and `signal/*`, (B, T);
      metrics.
    """
    # Placed as they leave a step, or the next one would compile once more.
    rows = self.sharding.batch
    result = self._train(state, *jax.device_put((carry, dict(batch)), rows))
    self._losses = self._losses or sorted(losses_of(result[3]))
    return result

  def diverged(self, state: State) -> tuple[int, str] | None:
    """The first update with numbers not finite, and which array it was.

    Waits for the last update.
    """
    update, place = np.asarray(local_copy(state['diverged'])).tolist()
    if update < 0:
      return None
    layout = self.layout
    names = labels(self._losses, layout.trained, layout.statistics)
    return update, names[place]

  def report(
    self, state: State, carry: Carry, batch: Mapping[str, Any], key: Array
  ) -> tuple[dict[str, Array], dict[str, Array]]:
    """Metrics and open-loop videos; see `Agent.report`."""
    return self._report(state, carry, dict(batch), key)

  def programs(
    self, batch: Mapping[str, jax.ShapeDtypeStruct], envs: int
  ) -> dict[str, Callable[[], jax.stages.Lowered]]:
    """The programs of training by name; each is traced when it is called.

    Args:
      batch: Shape and format of each key, see `train_step`.
      envs: W, environments of this process.
    """
    split = functools.partial(_placed, self.sharding.batch)
    device = jax.sharding.SingleDeviceSharding(self.sharding.local_device)
    alone = functools.partial(_placed, device)
    (rows,) = batch['is_first'].shape[:1]
    trained = split(self.abstract_carry(rows)), split(dict(batch))
    acted = (
      alone({k: self.abstract[k] for k in self.layout.acting}),
      alone(self.abstract_carry(envs)),
      self.layout.observed(envs),
    )
    key, lower = streams.key(0, Stream.ACT, 0), functools.partial
    return {
      'update': lower(self._train.lower, self.abstract, *trained),
      'policy': lower(self._act.lower, *acted, key, 0, mode='sample'),
      'report': lower(self._report.lower, self.abstract, *trained, key),
    }

  def _gathered_state(self, arrays: State) -> State:
    """Arrays gathered to compute with; their gradients end up split again."""
    return {k: self._gathered(x, self.axes[k]) for k, x in arrays.items()}

  def _gathered(self, x: Array, axes: tuple[str, ...] | None) -> Array:
    stored = self.sharding.stored(x.shape, axes)
    gathered = self.sharding.gathered(x.shape, axes)
    if stored == gathered:
      return x
    constrain = jax.lax.with_sharding_constraint

    @jax.custom_vjp
    def gather(x):
      return constrain(x, gathered)

    gather.defvjp(
      lambda x: (gather(x), None), lambda _, g: (constrain(g, stored),)
    )
    return gather(x)


def _placed(where: jax.sharding.Sharding, tree: Any) -> Any:
  """The shapes and formats of a tree, of arrays in a place."""
  struct = functools.partial(jax.ShapeDtypeStruct, sharding=where)
  return jax.tree.map(lambda x: struct(x.shape, x.dtype), tree)


def _first_keys(seed: int) -> tuple[Array, Array]:
  """Keys of the initial parameters, and the one that a state keeps."""
  return streams.key(seed, Stream.INIT), streams.key(seed, Stream.UPDATE)
