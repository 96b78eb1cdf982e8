"""Rolling a world model out: by a policy, or along given actions.

Letters: N = B * K rows, H imagined steps, n numbers of a feature.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts, spaces, streams
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.contracts import Dream, Replayed, World
from dreamer_nnx.nn import loops

sg = jax.lax.stop_gradient
Array = jax.Array
# (features, memory, key) to (action, memory, what to keep), one step of N rows.
Act = Callable[
  [contracts.Feat, contracts.Memory, Array],
  tuple[contracts.Action, contracts.Memory, Mapping[str, Array]],
]


def dream(
  dynamics: contracts.Dynamics,
  carry: contracts.Carry,
  feat: contracts.Feat,
  act: Act,
  memory: contracts.Memory,
  length: int,
  key: Array,
) -> tuple[contracts.Feat, contracts.Action, dict[str, Array]]:
  """Rolls `act` out in the world model.

  Args:
    carry: Of N rows, from `starts`, or from `step`.
    feat: Features (N, n) of these states.
    act: Chooses actions.
    memory: What `act` hands on; leaves (N, ...).
    length: H.

  Returns:
    (N, H, n) features of the states after the first; (N, H+1, ...) actions, the
    last one chosen at the last state; and what `act` keeps, (N, H+1, ...).
  """

  def body(state, key):
    carry, feat, memory = state
    action, memory, kept = act(feat, memory, streams.at(key, 'act'))
    carry, feat = dynamics.predict(carry, action, streams.at(key, 'predict'))
    return (carry, feat, memory), (feat, (action, kept))

  keys = jax.random.split(streams.at(key, 'steps'), length)
  state, (feats, chosen) = loops.scan(body, (carry, feat, memory), keys)
  _, feat, memory = state
  action, _, kept = act(feat, memory, streams.at(key, 'last'))
  # (H, N, ...) to (N, H, ...); the last action (N, ...) is put behind.
  swap = lambda x: x.swapaxes(0, 1)
  append = lambda x, last: jnp.concatenate([swap(x), last[:, None]], 1)
  actions, kept = jax.tree.map(append, chosen, (action, kept))
  return jax.tree.map(swap, feats), actions, kept


def open_loop(
  dynamics: contracts.Dynamics,
  carry: contracts.Carry,
  action: contracts.Action,
  key: Array,
) -> contracts.Feat:
  """Predicts features (B, T, n) along the actions (B, T, ...) before them."""

  def body(carry, inputs):
    return dynamics.predict(carry, *inputs)

  # (B, T, ...) to (T, B, ...), and back.
  swap = lambda x: x.swapaxes(0, 1)
  length = jax.tree.leaves(action)[0].shape[1]
  inputs = jax.tree.map(swap, action), jax.random.split(key, length)
  _, feats = jax.lax.scan(body, carry, inputs)
  return jax.tree.map(swap, feats)


@jax.named_scope('imagine')
def imagine(
  replayed: Replayed,
  policy: contracts.Policy,
  options: AgentOptions,
  key: Array,
  given: Mapping[str, Array] | None = None,
) -> Dream:
  """Dreams of a policy from the last K replayed steps of each sequence.

  Nothing is differentiated through the dream; with `ac_grads` its first
  features alone have gradients.

    weight_t = Π_{s <= t} disc · cont_s / disc,   disc = 1 with contdisc

  Args:
    options: H is `imag_length`, K `imag_last`.
    given: Constants (N, ...) of the policy beside `label/*` of the starts.
  """
  world, count = replayed.world, starting(replayed, options)
  recent = functools.partial(flat_recent, count=count)
  first = jax.tree.map(recent, replayed.observed.feat)
  steps = {k: recent(x) for k, x in replayed.steps.items()}
  given = spaces.labels(steps) | dict(given or {})
  # Before the loop: what is made in it cannot be kept outside.
  objectives = {k: constant(x) for k, x in world.objectives.items()}
  frozen_world = dataclasses.replace(world, objectives=objectives)
  masks = Masks(frozen_world, spaces.masks(steps))
  # Or derivatives that nobody reads would be traced through the loop.
  dynamics, frozen = constant(world.dynamics), constant(policy)

  def act(feat, memory, key):
    mask = masks.of(feat, memory)
    joint = frozen(feat, given=given, mask=mask)
    return joint.sample(key), jax.tree.map(jnp.zeros_like, memory), mask

  # The masks are those that actions were drawn by. Predicted once more, of all
  # steps at once, they may round to others, that allow no such action.
  feats, action, mask = dream(
    dynamics,
    sg(dynamics.starts(replayed.carry, replayed.observed, count)),
    sg(first),
    act,
    {'first': jnp.ones(steps['is_first'].shape, bool)},
    options.imag_length,
    key,
  )
  feat = joined(first if options.ac_grads else sg(first), sg(feats))
  reward = sg(world.reward(sg(feat)).pred())
  cont = sg(world.cont(sg(feat)).prob(1))
  disc = 1.0 if options.contdisc else options.discount
  weight = sg(jnp.cumprod(disc * cont, 1) / disc)
  return Dream(feat, sg(action), reward, cont, weight, sg(mask), sg(given))


@dataclasses.dataclass(frozen=True)
class Masks:
  """Masks in a dream: the true ones at its start, then predicted ones.

  Args:
    true: Bool (N, classes) by action.
  """

  world: World
  true: Mapping[str, Array]

  def of(self, feat: contracts.Feat, memory: Mapping[str, Array]) -> dict:
    """Returns the masks (N, classes) of one step; `first` (N,) is the start."""
    if not self.true:
      return {}
    later, first = self.predicted(feat), memory['first'][:, None]
    return {k: jnp.where(first, x, later[k]) for k, x in self.true.items()}

  def predicted(self, feat: contracts.Feat) -> dict[str, Array]:
    """Predicts masks (..., classes); all is allowed that nothing predicts."""
    found = {}
    for objective in self.world.objectives.values():
      if self.true and hasattr(objective, 'mask'):
        found |= objective.mask(self.world, feat)
    shape = next(iter(feat.values())).shape[:-1]
    return {
      name: found.get(name, jnp.ones((*shape, like.shape[-1]), bool))
      for name, like in self.true.items()
    }


def starting(replayed: Replayed, options: AgentOptions) -> int:
  """Returns K, the steps of a sequence that dreams start from."""
  length = replayed.steps['is_first'].shape[1]
  return min(options.imag_last or length, length)


def flat_recent(x: Array, count: int) -> Array:
  """Takes the last K steps of (B, T, ...), as (B K, ...)."""
  x = x[:, -count:]
  return x.reshape(x.shape[0] * count, *x.shape[2:])


def joined(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict:
  """Puts arrays (N, ...) before those (N, H, ...) of the same names."""
  return {
    name: jnp.concatenate([first[name][:, None], later[name]], 1)
    for name in first
  }


def constant(component: Any) -> Any:
  """Returns a component whose parameters have no gradients, if it has any."""
  return sg(component) if isinstance(component, nnx.Module) else component
