"""Compiled functions over one flat state: init, policy, train_step, report.

The state is a plain dict of arrays: every parameter and statistic of the agent
under its module path, `optimizer/...`, `updates` and `key`. It becomes modules
inside traced functions only.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from dreamer_nnx import contracts, streams
from dreamer_nnx.agent.agent import Agent, Carry, SlowParam
from dreamer_nnx.agent.context import LATENT
from dreamer_nnx.streams import Stream
from dreamer_nnx.training import loss_scale
from dreamer_nnx.training.divergence import (
  first_bad,
  labels,
  losses_of,
  recorded,
)
from dreamer_nnx.training.norms import NONE, Squares, optimizer_metrics
from dreamer_nnx.training.sharding import Sharding, local_copy

Array = jax.Array
State = dict[str, Array]
OPTIMIZER = 'optimizer/'
# Arrays of so many numbers are mostly biases and scales.
SMALL = 2**13
# For what runs once: its compilation takes longer than its run.
FAST_COMPILE = {'xla_backend_optimization_level': 0}
ACTING = ('encoder/', 'dynamics/', 'policy/')


class Layout:
  """Names, shapes, axes and kinds of an agent's arrays, without any values."""

  def __init__(self, make_agent: Callable[[nnx.Rngs], Agent]):
    abstract = nnx.eval_shape(lambda: make_agent(nnx.Rngs(0)))
    self.graphdef, state = nnx.split(abstract)
    flat = nnx.to_flat_state(state)
    self.paths = {'/'.join(map(str, path)): path for path, _ in flat}
    self.shapes = {
      name: jax.ShapeDtypeStruct(v.shape, v.dtype)
      for name, (_, v) in zip(self.paths, flat, strict=True)
    }
    self.axes = {
      name: v.get_metadata().get('axes')
      for name, (_, v) in zip(self.paths, flat, strict=True)
    }
    self.trained = tuple(
      name
      for name, (_, v) in zip(self.paths, flat, strict=True)
      if isinstance(v, nnx.Param)
    )
    self.statistics = tuple(
      name
      for name, (_, v) in zip(self.paths, flat, strict=True)
      if not isinstance(v, nnx.Param | SlowParam)
      and jnp.issubdtype(v.dtype, jnp.inexact)
    )
    self.action_keys = tuple(abstract.action_space)

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


class Learner:
  """An agent and its optimiser, compiled for a mesh.

  Args:
    make_agent: Builds the agent from random streams.
    optimizer: Transformation over the flat dict of trained parameters.
    sharding: The mesh, and what of it is split over what.
    batch_length: T, steps of a window to train on; any before are context.
    loss_scaling: Scales the loss dynamically, for float16.
  """

  def __init__(
    self,
    make_agent: Callable[[nnx.Rngs], Agent],
    optimizer: optax.GradientTransformation,
    sharding: Sharding,
    *,
    batch_length: int,
    loss_scaling: bool = False,
  ):
    self.layout = Layout(make_agent)
    self.optimizer = optimizer
    self._learning_rate = getattr(optimizer, 'learning_rate', None)
    self.sharding = sharding
    self._make_agent = make_agent
    self._loss_scaling = loss_scaling
    self._length = batch_length
    self._losses: list[str] = []
    if loss_scaling:
      self.optimizer = loss_scale.skip_overflows(optimizer)
    params = {k: self.layout.shapes[k] for k in self.layout.trained}
    leaves, self._opt_tree = jax.tree_util.tree_flatten_with_path(
      jax.eval_shape(self.optimizer.init, params)
    )
    self._opt_names = tuple(
      OPTIMIZER + jax.tree_util.keystr(path, simple=True, separator='/')
      for path, _ in leaves
    )
    self.axes = self.layout.axes | {
      name: self._axes_of(path, leaf)
      for name, (path, leaf) in zip(self._opt_names, leaves, strict=True)
    }
    self._compile()

  def _compile(self) -> None:
    self._joined = frozenset(
      name
      for name in self.layout.trained
      if (x := self.abstract[name]).size <= SMALL
      and x.sharding.is_fully_replicated
    )
    every, rows = self.sharding.replicated, self.sharding.batch
    stored = {name: x.sharding for name, x in self.abstract.items()}
    self._init = jax.jit(
      self._initialize, out_shardings=stored, compiler_options=FAST_COMPILE
    )
    self._start = jax.jit(self._initial, static_argnums=0)
    self._start_rows = jax.jit(
      self._initial, static_argnums=0, out_shardings=rows
    )
    self._train = jax.jit(
      self._train_step,
      donate_argnums=0,
      out_shardings=(stored, rows, rows, every),
    )
    self._act = jax.jit(self._policy, static_argnames='mode')
    self._gather = jax.jit(lambda arrays: arrays, out_shardings=every)
    self._report = jax.jit(self._make_report, out_shardings=every)

  @functools.cached_property
  def abstract(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape, format and placement of every array of the state."""
    shapes = jax.eval_shape(self._initialize, *_first_keys(0))
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
    """Zero latents and actions of so many rows, for `policy`."""
    return self.place(self._start(batch_size))

  def abstract_carry(self, batch_size: int) -> Carry:
    """Shapes and formats of a carry."""
    return jax.eval_shape(lambda: self._initial(batch_size))

  def place(self, carry: Carry) -> Carry:
    """A carry where `policy` leaves it, or it would be compiled once more."""
    return jax.device_put(carry, self.sharding.local_device)

  def initial_rows(self, batch_size: int) -> Carry:
    """Zero latents and actions of a whole batch, for `train_step`."""
    return self._start_rows(batch_size)

  def acting(self, state: State) -> State:
    """The part of the state that `policy` needs, on one device.

    Valid until the state is consumed. What is split is gathered by all devices
    together, and each process keeps one copy: ask once for each state.
    """
    part = {k: v for k, v in state.items() if k.startswith(ACTING)}
    split = {k: x for k, x in part.items() if not x.is_fully_replicated}
    part |= self._gather(split) if split else {}
    return {name: local_copy(x) for name, x in part.items()}

  def policy(
    self,
    acting: State,
    carry: Carry,
    obs: Mapping[str, Any],
    key: Array,
    count: int,
    mode: str = 'sample',
  ) -> tuple[Carry, contracts.Action, contracts.Latent]:
    """Acts once, on one device; see `Agent.act`.

    Args:
      acting: Result of the method `acting`.
      key, count: Key of the run, and number of this draw in it.
    """
    return self._act(acting, carry, dict(obs), key, count, mode=mode)

  def train_step(
    self, state: State, carry: Carry, batch: Mapping[str, Any]
  ) -> tuple[State, Carry, dict[str, Array], dict[str, Array]]:
    """Makes one update. The state given is consumed.

    Args:
      state: Result of `init` or of the last update.
      carry: (B, ...), from `initial` or the last update.
      batch: (B, context + T, ...), see `Agent.loss`.

    Returns:
      State; carry; the write-back to replay: `latent/*` and `priority`, (B, T);
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

  def _initialize(self, init_key: Array, train_key: Array) -> State:
    arrays = self.layout.flatten(self._make_agent(nnx.Rngs(init_key)))
    params = {k: arrays[k] for k in self.layout.trained}
    state = arrays | self._pack(self.optimizer.init(params))
    state |= {'updates': jnp.zeros((), jnp.int32), 'key': train_key}
    state |= {'diverged': jnp.full(2, -1, jnp.int32)}
    return state | (loss_scale.initial() if self._loss_scaling else {})

  def _initial(self, batch_size: int) -> Carry:
    return self.layout.partial({}).initial(batch_size)

  def _policy(self, acting, carry, obs, key, count, mode):
    key = jax.random.fold_in(key, count)
    return self.layout.partial(acting).act(carry, obs, key, mode)

  def _make_report(self, state, carry, batch, key):
    arrays = {name: state[name] for name in self.layout.shapes}
    agent = self.layout.merge(self._gathered_state(arrays))
    return agent.report(carry, batch, key, length=self._length)

  def _train_step(self, state, carry, batch):
    layout, updates = self.layout, state['updates']
    key = jax.random.fold_in(state['key'], updates)
    params = {k: state[k] for k in layout.trained}
    rest = {k: state[k] for k in layout.shapes if k not in params}
    scale = state.get('loss_scale', 1.0)

    def scaled_loss(params):
      agent = layout.merge(self._gathered_state(params | rest))
      loss, aux = agent.loss(carry, batch, key, length=self._length)
      arrays = layout.flatten(agent)
      return loss * scale, (loss, aux, {k: arrays[k] for k in rest})

    grads, (loss, aux, stats) = jax.grad(scaled_loss, has_aux=True)(params)
    grads = jax.tree.map(lambda g: g / scale, grads)
    with jax.named_scope('optimize'):
      changes, opt_state = self.optimizer.update(
        grads, self._unpack(state), params
      )
      params = optax.apply_updates(params, changes)
    agent = layout.merge(params | stats)
    agent.after_update(updates)
    new = layout.flatten(agent) | self._pack(opt_state)
    new |= {'updates': updates + 1, 'key': state['key']}
    sizes = [Squares(x, self._joined) for x in (grads, changes, params)]
    metrics = aux['metrics'] | optimizer_metrics(loss, updates + 1, *sizes)
    statistics = {k: new[k] for k in layout.statistics}
    bad = first_bad(losses_of(metrics), sizes[0], sizes[2], statistics)
    if self._loss_scaling:
      bad = self._skip_overflow(state, opt_state, rest, new, metrics, bad)
      aux['carry'] = loss_scale.zero_not_finite(aux['carry'])
    new |= {'diverged': recorded(state['diverged'], updates + 1, bad)}
    back = {
      LATENT + k: x.astype(jnp.float32) for k, x in aux['latents'].items()
    } | {'priority': aux['priority']}
    return new, aux['carry'], back, metrics | self._rate_metrics(state)

  def _rate_metrics(self, state: State) -> dict[str, Array]:
    """The learning rate of the update from a state, if the optimiser tells."""
    if self._learning_rate is None:
      return {}
    opt_state = self._unpack(state)
    opt_state = opt_state.inner_state if self._loss_scaling else opt_state
    return {'opt/lr': jnp.asarray(self._learning_rate(opt_state), jnp.float32)}

  def _skip_overflow(self, state, opt_state, rest, new, metrics, bad) -> Array:
    """Puts the scale, and what an overflow spoilt, right in `new`.

    Returns:
      `bad`, unless it is an overflow that a smaller scale may do without.
    """
    finite = jnp.isfinite(metrics['opt/grad_norm'])
    new |= loss_scale.next_scale(state, finite)
    new |= loss_scale.keep_finite(finite, new, rest)
    metrics |= {'opt/grad_scale': new['loss_scale'], 'opt/skipped': ~finite}
    lost = loss_scale.is_divergence(state['loss_scale'], opt_state)
    return jnp.where(finite | lost, bad, NONE)

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

  def _axes_of(self, path: tuple, leaf: jax.ShapeDtypeStruct):
    """The axes of the parameter that a leaf of the optimiser belongs to."""
    keys = [entry.key for entry in path if hasattr(entry, 'key')]
    names = [key for key in keys if key in self.layout.axes]
    if not names or self.layout.shapes[names[-1]].shape != leaf.shape:
      return None
    return self.layout.axes[names[-1]]

  def _pack(self, opt_state) -> State:
    leaves = jax.tree.leaves(opt_state)
    return dict(zip(self._opt_names, leaves, strict=True))

  def _unpack(self, state: State):
    leaves = [state[name] for name in self._opt_names]
    return jax.tree.unflatten(self._opt_tree, leaves)


def _first_keys(seed: int) -> tuple[Array, Array]:
  """Keys of the initial parameters, and the one that a state keeps."""
  return streams.key(seed, Stream.INIT), streams.key(seed, Stream.UPDATE)
