"""Initial carry of a replayed batch, and the steps to train on."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.contracts import CONSEC, Context

sg = jax.lax.stop_gradient
Array = jax.Array
# Prefixes in replay: entries of the dynamics, and what the behaviour adds.
LATENT, ACTING = 'latent/', 'acting/'


@dataclasses.dataclass(frozen=True)
class Window:
  """A replayed window of context + T steps.

  Args:
    steps: Every key of a batch but entries and `CONSEC`, (B, C + T, ...).
    entry: What replay stored of the dynamics, (B, C + T, ...).
    consec: (B,), see `contracts.Replay`.
    length: T.
    action_keys: Keys that are actions.
  """

  steps: dict[str, Array]
  entry: dict[str, Array]
  consec: Array
  length: int
  action_keys: tuple[str, ...]

  @property
  def context(self) -> int:
    return self.steps['is_first'].shape[1] - self.length

  @property
  def actions(self) -> contracts.Action:
    return {key: self.steps[key] for key in self.action_keys}

  def before(self, last: contracts.Action) -> contracts.Action:
    """Actions before each of the T steps.

    Args:
      last: Before the window, (B, ...); read where there is no context.
    """
    first = self.context - 1
    if self.context:
      return {key: x[:, first:-1] for key, x in self.actions.items()}
    return shifted(self.actions, last)

  def trained(self) -> dict[str, Array]:
    """The last T steps; those that begin from nothing are marked as first."""
    steps = {key: x[:, self.context :] for key, x in self.steps.items()}
    alone = (self.consec < 0)[:, None] & (jnp.arange(self.length) == 0)
    return steps | {'is_first': steps['is_first'] | alone}

  def seen(self, tokens: Array, size: int) -> Context:
    """The last `size` steps of the context, for `Dynamics.resume`.

    Args:
      tokens: (B, size, E) of these steps.
    """
    part = lambda x: x[:, self.context - size : self.context]
    zeros = {k: jnp.zeros_like(x[:, 0]) for k, x in self.actions.items()}
    whole = shifted(self.actions, zeros)
    return Context(
      tokens=tokens,
      action=jax.tree.map(part, whole),
      is_first=part(self.steps['is_first']),
      entry=jax.tree.map(part, self.entry),
    )


def window(
  batch: Mapping[str, Array], length: int, action_keys: Iterable[str]
) -> Window:
  """Reads a batch (B, context + T, ...), see `contracts.Replay.sample`.

  Raises:
    ValueError: It has fewer than T steps.
  """
  steps = {k: x for k, x in batch.items() if not k.startswith(LATENT)}
  consec = steps.pop(CONSEC, None)
  rows, held = steps['is_first'].shape[:2]
  if held < length:
    raise ValueError(f'a window has {held} steps, not {length}.')
  if consec is None:
    consec = jnp.zeros(rows, jnp.int32)
  entry = {
    k.removeprefix(LATENT): x for k, x in batch.items() if k.startswith(LATENT)
  }
  return Window(steps, entry, consec, length, tuple(action_keys))


def begin(
  dynamics: contracts.Dynamics, window: Window, carry: Any, tokens: Array | None
) -> Any:
  """Carry of the dynamics before the T steps.

  Where `consec` is positive it is that after the batch before; where it is 0,
  what the context gives; where it is negative, the initial one.

  Args:
    carry: After the batch before, (B, ...).
    tokens: (B, dynamics.context, E) of the last steps of the context; None if
      there is no context, and then the carry is used.
  """
  if tokens is None:
    return carry
  size = tokens.shape[1]
  resumed = sg(dynamics.resume(window.seen(tokens, size)))
  initial = dynamics.initial(len(window.consec))
  pick = lambda carry, resumed, initial: _where(
    window.consec > 0, carry, _where(window.consec < 0, initial, resumed)
  )
  return jax.tree.map(pick, carry, resumed, initial)


def shifted(
  actions: contracts.Action, first: contracts.Action
) -> contracts.Action:
  """Actions (B, T, ...) before each step, with those (B, ...) in front."""
  return {
    # (B, ...) to (B, 1, ...), before the (B, T-1, ...) of all but the last.
    key: jnp.concatenate([first[key][:, None], x[:, :-1]], 1)
    for key, x in actions.items()
  }


def _where(condition: Array, x: Array, y: Array) -> Array:
  # (B,) -> (B, 1, ..., 1)
  condition = condition.reshape(-1, *[1] * (y.ndim - 1))
  return jnp.where(condition, x.astype(y.dtype), y)
