"""Interfaces of the slots: Protocols that products satisfy, not base classes.

Letters: B batch, T time, H imagined steps, W environments, E tokens, F
features. A *latent* is a dict of arrays, the recurrent state of the dynamics;
an *observation* is a dict of arrays keyed like the observation space.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

Array = jax.Array
Latent = dict[str, Array]
Observation = dict[str, Array]
Action = dict[str, Array]

# The key of a batch that says which rows go on from the batch before; no
# observation and no action begins with 'replay/'.
CONSEC = 'replay/consec'


@runtime_checkable
class Output(Protocol):
  """A distribution over one event; `loss` and `logp` sum its event axes."""

  def pred(self) -> Array: ...
  def loss(self, target: Array) -> Array: ...
  def sample(self, key: Array) -> Array: ...
  def logp(self, event: Array) -> Array: ...
  def prob(self, event: Array) -> Array: ...
  def entropy(self) -> Array: ...
  def kl(self, other: 'Output') -> Array: ...


@runtime_checkable
class Encoder(Protocol):
  """Stateless map from observations to tokens of `token_size` numbers."""

  token_size: int

  def __call__(self, obs: Observation) -> Array:
    """(..., obs) to (..., E); any number of leading batch axes."""
    ...


@runtime_checkable
class Decoder(Protocol):
  """Stateless map from latents to one output per observation key."""

  def __call__(self, latent: Latent) -> dict[str, Output]: ...


@runtime_checkable
class Dynamics(Protocol):
  """The recurrent world model; the only component with a carry.

  `latent_space` names the shape of each array of a latent without batch axes,
  `feature_size` is F. `observe`, `imagine` and `predict` are `step`s in a scan.
  """

  latent_space: dict[str, tuple[int, ...]]
  feature_size: int

  def initial(self, batch_size: int) -> Latent: ...

  def features(self, latent: Latent) -> Array:
    """Latent (...,) to the features (..., F) that the heads read."""
    ...

  def step(
    self,
    latent: Latent,
    tokens: Array,
    action: Action,
    is_first: Array,
    key: Array,
  ) -> Latent:
    """One observed step; (B, ...) in and out."""
    ...

  def observe(
    self,
    latent: Latent,
    tokens: Array,
    action: Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Latent, Latent]:
    """Filters (B, T) tokens; returns the last latent and all (B, T)."""
    ...

  def imagine(
    self,
    latent: Latent,
    policy: Callable[[Latent, Array], Action],
    length: int,
    key: Array,
  ) -> tuple[Latent, Action]:
    """Rolls `policy(latent, key)` out; returns (B, H) latents and actions.

    Latent t is the one that action t leads to.
    """
    ...

  def predict(
    self, latent: Latent, action: Action, key: Array
  ) -> tuple[Latent, Latent]:
    """Rolls given (B, T) actions out; returns the last latent and all."""
    ...

  def losses(self, latent: Latent) -> tuple[dict[str, Array], dict[str, Array]]:
    """Losses (B, T) of observed latents, by name, and scalar metrics."""
    ...


@runtime_checkable
class Head(Protocol):
  """An output layer: (..., U) activations to a distribution."""

  def __call__(self, x: Array) -> Output: ...


@runtime_checkable
class Normalizer(Protocol):
  """Running statistics of a stream of values."""

  def update(self, x: Array) -> None: ...

  def stats(self) -> tuple[Array | float, Array | float]:
    """Offset and scale."""
    ...


@runtime_checkable
class Optimizer(Protocol):
  """An optax gradient transformation over a flat dict of parameters.

  One that has `learning_rate`, a function of its state, has the rate of each
  update logged.
  """

  init: Callable[[Any], Any]
  update: Callable[..., Any]


@runtime_checkable
class VectorEnv(Protocol):
  """W environments stepped together, with next-step auto-reset.

  `reset` and `step` return a dict of (W, ...) numpy arrays: every key of
  `obs_space`, and `reward` float32, `is_first`, `is_last`, `is_terminal` bool.
  The step after `is_last` ignores its action and returns the first observation
  of the next episode, with `is_first` and reward 0. Keys `log/*` are for the
  loggers alone.
  """

  num_envs: int
  obs_space: Mapping[str, Any]
  action_space: Mapping[str, Any]

  def reset(self) -> dict[str, np.ndarray]: ...
  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...
  def close(self) -> None: ...

  def state(self) -> dict | None:
    """JSON-able state for an exact resume; None where there is none."""
    ...

  def restore(self, state: dict) -> None: ...
  def stats(self) -> dict[str, float]: ...


@runtime_checkable
class Replay(Protocol):
  """Experience of W workers, sampled as windows of consecutive steps.

  The builder is given `spaces`: shape and dtype of everything kept of one
  worker's step, by key. These are the observations, the actions, `reward`,
  `is_first`, `is_last`, `is_terminal`, and `latent/*`, which the policy had at
  that step. It is also given `num_envs` W, `batch_size` B and `batch_length` T.

  A window has `context` + T steps of one worker, in order. The last T are
  trained on; of the step before them come the first latent and the previous
  action. With a `context` of 0 both come from where the same row of the batch
  before ended, so a window that does not go on from there has to begin with
  `is_first`.

  `ready` once there is enough of it to train on. `notes` are lines printed at
  the start.
  """

  context: int
  ready: bool
  notes: Sequence[str]

  def __len__(self) -> int:
    """Steps held."""
    ...

  def add(self, steps: Mapping[str, np.ndarray]) -> None:
    """Appends one step (W, ...) of every worker: each key of `spaces`.

    Values are in their space; a float may come in another float format.
    """
    ...

  def sample(self) -> tuple[dict[str, np.ndarray], Any]:
    """Draws a batch; asked for when `ready`.

    Returns:
      A dict of numpy arrays (B, context + T, ...), with exactly the keys of
      `spaces`, each in the dtype of its space. It may have one more key,
      `CONSEC`, int32 (B,): 0 where a window stands alone, positive where it
      goes on from the same row of the batch before, whose carry is then used.
      Without that key all windows stand alone.
      And a handle, any object: `update` gets it back, at most once, in the
      order of the batches, but perhaps after more steps and the next batch.

    The first batch of a run is checked, see `training/batch_check.py`.
    """
    ...

  def update(
    self,
    handle: Any,
    latents: Mapping[str, np.ndarray],
    priority: np.ndarray | None,
  ) -> None:
    """Writes back what training found out about a batch.

    Args:
      handle: The one that `sample` returned with the batch.
      latents: (B, T, ...) by the names in `spaces`, `latent/*`: newer ones of
        the steps trained on, without those of the context.
      priority: (B, T) losses of these steps, at least 0; None for no change.
    """
    ...

  def save(self) -> dict:
    """Starts to persist everything unsaved; returns a JSON-able index.

    It is persisted as it is now, while what is held changes. A replay that
    stores nothing returns {}, and a resumed run begins with an empty one.
    """
    ...

  def wait(self) -> None:
    """Waits, in another thread, until all that the last index needs is safe."""
    ...

  def files(self, index: dict | None) -> Collection[str]:
    """Names of what an index of any process needs; None: all that is stored."""
    ...

  def retain(self, files: Collection[str]) -> None:
    """Deletes what is stored, unless among these names or in use here."""
    ...

  def load(self, index: dict) -> None:
    """Replaces what is held by what an index names.

    So many processes save as load; else see `load_share`.
    """
    ...

  def load_share(
    self, indices: Sequence[dict], share: int, shares: int
  ) -> None:
    """Replaces what is held by a share of what other replays saved.

    Together the shares hold everything, and nothing twice.
    """
    ...

  def stats(self) -> dict[str, float]:
    """Metrics since the last call, logged as `replay/*`."""
    ...


@runtime_checkable
class Logger(Protocol):
  """A sink of metrics: scalars, and videos (T, H, W, C) uint8."""

  def write(self, env_steps: int, metrics: Mapping[str, Any]) -> None: ...
  def close(self) -> None: ...
