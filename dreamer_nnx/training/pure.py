"""The functions of a run over one flat state, without compilation or mesh.

The state is a plain dict of arrays: every parameter and statistic of the agent
under its module path, `optimizer/...`, `updates` and `key`. It becomes modules
inside of these functions only. `step.Learner` compiles them for a mesh; they
may as well be exported, put into a loop on the device, or mapped over seeds by
`jax.vmap`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from dreamer_nnx.agent.agent import Agent, Carry
from dreamer_nnx.agent.context import LATENT
from dreamer_nnx.training import loss_scale
from dreamer_nnx.training.divergence import first_bad, losses_of, recorded
from dreamer_nnx.training.layout import Layout, State, unchecked
from dreamer_nnx.training.norms import NONE, Squares, optimizer_metrics

Array = jax.Array
Batch = Mapping[str, Any]
OPTIMIZER = 'optimizer/'
SIGNAL = 'signal/'
# Arrays of so many numbers are mostly biases and scales.
SMALL = 2**13


def alone(arrays: State) -> State:
  """Leaves arrays as they are, where there is no mesh to gather them from."""
  return arrays


class Pure:
  """An agent and its optimiser as pure functions.

  Args:
    make_agent: Builds the agent from random streams.
    optimizer: Transformation over the flat dict of trained parameters.
    batch_length: T, steps of a window to train on; any before are context.
    loss_scaling: Scales the loss dynamically, for float16.
    check: Called once with the agent, without values.
  """

  def __init__(
    self,
    make_agent: Callable[[nnx.Rngs], Agent],
    optimizer: optax.GradientTransformation,
    *,
    batch_length: int,
    loss_scaling: bool = False,
    check: Callable[[Agent], None] = unchecked,
  ):
    self.layout = Layout(make_agent, check)
    self.optimizer, self.length = optimizer, batch_length
    self._learning_rate = getattr(optimizer, 'learning_rate', None)
    self._make_agent, self._loss_scaling = make_agent, loss_scaling
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
    self.small = frozenset(k for k, x in params.items() if x.size <= SMALL)
    self.axes = self.layout.axes | {
      name: self._axes_of(path, leaf)
      for name, (path, leaf) in zip(self._opt_names, leaves, strict=True)
    }

  def init(self, init_key: Array, train_key: Array) -> State:
    """The state before the first update.

    Args:
      init_key: Of the initial parameters.
      train_key: Kept in the state, for the draws of updates.
    """
    arrays = self.layout.flatten(self._make_agent(nnx.Rngs(init_key)))
    params = {k: arrays[k] for k in self.layout.trained}
    state = arrays | self._pack(self.optimizer.init(params))
    state |= {'updates': jnp.zeros((), jnp.int32), 'key': train_key}
    state |= {'diverged': jnp.full(2, -1, jnp.int32)}
    return state | (loss_scale.initial() if self._loss_scaling else {})

  def initial(self, batch_size: int) -> Carry:
    """The carry of so many rows before an episode."""
    return self.layout.partial({}).initial(batch_size)

  def act(
    self,
    acting: State,
    carry: Carry,
    obs: Batch,
    key: Array,
    count: Array,
    mode: str = 'sample',
  ) -> tuple[Carry, dict[str, Array], dict[str, Array]]:
    """Acts once; see `Agent.act`.

    Args:
      acting: The arrays `layout.acting` of a state; further ones are ignored.
      key, count: Key of the run, and number of this draw in it.
    """
    key = jax.random.fold_in(key, count)
    return self.layout.partial(acting).act(carry, obs, key, mode)

  def report(
    self,
    state: State,
    carry: Carry,
    batch: Batch,
    key: Array,
    gather: Callable[[State], State] = alone,
  ) -> tuple[dict[str, Array], dict[str, Array]]:
    """Metrics and open-loop videos; see `Agent.report`."""
    arrays = {name: state[name] for name in self.layout.shapes}
    agent = self.layout.merge(gather(arrays))
    return agent.report(carry, batch, key, length=self.length)

  def update(
    self,
    state: State,
    carry: Carry,
    batch: Batch,
    gather: Callable[[State], State] = alone,
    joined: Collection[str] | None = None,
  ) -> tuple[State, Carry, dict[str, Array], dict[str, Array]]:
    """Makes one update; see `Learner.train_step`.

    Args:
      gather: Applied to the arrays of the agent before they are computed with.
      joined: Names of arrays whose sizes are measured as one; by default those
        of the small ones.
    """
    layout, updates = self.layout, state['updates']
    joined = self.small if joined is None else joined
    params = {k: state[k] for k in layout.trained}
    rest = {k: state[k] for k in layout.shapes if k not in params}
    grads, (loss, aux, stats) = self._gradients(
      params, rest, state, carry, batch, gather
    )
    with jax.named_scope('optimize'):
      changes, opt_state = self.optimizer.update(
        grads, self._unpack(state), params
      )
      params = optax.apply_updates(params, changes)
    agent = layout.merge(params | stats)
    agent.after_update(updates)
    new = layout.flatten(agent) | self._pack(opt_state)
    new |= {'updates': updates + 1, 'key': state['key']}
    sizes = [Squares(x, joined) for x in (grads, changes, params)]
    metrics = aux['metrics'] | optimizer_metrics(loss, updates + 1, *sizes)
    statistics = {k: new[k] for k in layout.statistics}
    bad = first_bad(losses_of(metrics), sizes[0], sizes[2], statistics)
    if self._loss_scaling:
      bad = self._skip_overflow(state, opt_state, rest, new, metrics, bad)
      aux['carry'] = loss_scale.zero_not_finite(aux['carry'])
    new |= {'diverged': recorded(state['diverged'], updates + 1, bad)}
    back = {LATENT + k: x for k, x in aux['entries'].items()}
    back |= {SIGNAL + k: x for k, x in aux['signals'].items()}
    return new, aux['carry'], back, metrics | self._rate_metrics(state)

  def _gradients(self, params, rest, state, carry, batch, gather):
    """Gradients of the loss; the loss, what it tells, and new statistics."""
    key = jax.random.fold_in(state['key'], state['updates'])
    scale = state.get('loss_scale', 1.0)

    def scaled_loss(params):
      agent = self.layout.merge(gather(params | rest))
      loss, aux = agent.loss(carry, batch, key, length=self.length)
      arrays = self.layout.flatten(agent)
      aux = {k: aux[k] for k in ('carry', 'entries', 'signals', 'metrics')}
      return loss * scale, (loss, aux, {k: arrays[k] for k in rest})

    grads, told = jax.grad(scaled_loss, has_aux=True)(params)
    return jax.tree.map(lambda g: g / scale, grads), told

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


def split_signals(
  back: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Splits what a train step tells replay into signals and entries."""
  signals = {
    k.removeprefix(SIGNAL): x for k, x in back.items() if k.startswith(SIGNAL)
  }
  entries = {k: x for k, x in back.items() if not k.startswith(SIGNAL)}
  return signals, entries
