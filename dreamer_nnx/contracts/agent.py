"""Interfaces of the components of an agent.

Letters: B batch, T time, C context, N = B K imagined rows, H imagined steps, W
environments, E tokens. What is handed from step to step, stored, and read are
three things:

  carry    a pytree of arrays, every leaf (B, ...): handed on, never stored
  entry    a dict of arrays: what replay stores of a step, see `entry_space`
  feat     a dict of flat vectors (..., n) by name, see `feat_space`: what
           heads, decoders, policies and losses read. Its order is that of
           `feat_space`: a scan returns dicts in another one.

An *observation* is a dict of arrays keyed like the observation space. Keys
`label/*` of it are stored and seen by losses and behaviours, `mask/<action>` (a
number for each class of a discrete action, 0 where it is not allowed) by those
that mask; neither is encoded or decoded.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax

from dreamer_nnx.contracts.records import (
  Action,
  Array,
  Context,
  Dream,
  Observed,
  Replayed,
  World,
)

Carry = Memory = Any
Observation = Feat = Entry = dict[str, Array]
Losses = Metrics = Signals = dict[str, Array]


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
  """Stateless map from features to one output per observation key.

  Keys that are not decoded are left out; a decoder may decode none.
  """

  def __call__(self, feat: Feat) -> dict[str, Output]:
    """Features (..., n) to outputs over (..., observation)."""
    ...


@runtime_checkable
class Dynamics(Protocol):
  """The recurrent world model.

  `feat_space` is the size of each feature vector by name, `entry_space` the
  shape and format of what replay stores of one step, without batch axes.
  `context` is the number of stored steps that `resume` reads: 1 where an entry
  is the whole state, W where it is a window of W steps.

  Everything is batch-major. `action` is always that *before* the step.
  """

  feat_space: Mapping[str, int]
  entry_space: Mapping[str, jax.ShapeDtypeStruct]
  context: int

  def initial(self, batch_size: int) -> Carry:
    """Carry before an episode; at least one array, and no typed keys."""
    ...

  def resume(self, context: Context) -> Carry:
    """Carry after stored steps, all of which have entries; no gradients."""
    ...

  def step(
    self,
    carry: Carry,
    tokens: Array,
    action: Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Carry, Observed]:
    """One observed step; (B, ...) in and out.

    Where `is_first` holds, carry and action count for nothing.
    """
    ...

  def observe(
    self,
    carry: Carry,
    tokens: Array,
    action: Action,
    is_first: Array,
    key: Array,
  ) -> tuple[Carry, Observed]:
    """Filters (B, T) steps: equals `step` after `step`, but for the draws."""
    ...

  def predict(
    self, carry: Carry, action: Action, key: Array
  ) -> tuple[Carry, Feat]:
    """One step without tokens, after (B, ...) actions."""
    ...

  def starts(self, carry: Carry, observed: Observed, count: int) -> Carry:
    """Carries of the last `count` steps of each row, for `predict` alone.

    Args:
      carry: Before the first step of `observed`, (B, ...).
      observed: (B, T, ...).

    Returns:
      Any pytree for rows (B * count, ...), those of one sequence together. What
      they share may stand in it once a sequence, (B, ...).
    """
    ...

  def losses(self, observed: Observed) -> tuple[Losses, Metrics]:
    """Losses (B, T) of observed steps, by name, and scalar metrics."""
    ...


@runtime_checkable
class Stochastic(Protocol):
  """The part of a state that is drawn, and its distributions.

  Networks give `posterior_size` and `prior_size` numbers for it, of which it
  makes distributions over values (..., *shape); the KL of a posterior to a
  prior is `posterior(a).kl(prior(b))`. `entry` is what replay stores of one.
  """

  posterior_size: int
  prior_size: int
  shape: tuple[int, ...]
  entry: jax.ShapeDtypeStruct

  def posterior(self, params: Array) -> Output:
    """(..., posterior_size) to a distribution, whose samples have gradients."""
    ...

  def prior(self, params: Array) -> Output:
    """(..., prior_size) to a distribution over the same values."""
    ...

  def pack(self, value: Array) -> Array:
    """(..., *shape) to an entry (..., *entry.shape)."""
    ...

  def unpack(self, entry: Array) -> Array:
    """The exact inverse of `pack` for samples in the compute format."""
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
  update logged. Optional: `check_names(names)` raises UserError where what is
  said of parameters by name fits none of these.
  """

  init: Callable[[Any], Any]
  update: Callable[..., Any]


@runtime_checkable
class Joint(Protocol):
  """One distribution over all action keys.

  One that has `entropy_range`, the lowest and the highest entropy by key, has
  its randomness logged.
  """

  def sample(self, key: Array) -> Action: ...
  def pred(self) -> Action: ...

  def logp(self, action: Action) -> Array:
    """Log-probability (...,) of a whole action."""
    ...

  def entropy(self) -> dict[str, Array]:
    """Entropies (...,) by key; they add up to that of the whole."""
    ...


@runtime_checkable
class Policy(Protocol):
  """Features, masks and constants to one distribution over all actions."""

  def __call__(
    self, feat: Feat, *, given: dict[str, Array], mask: dict[str, Array]
  ) -> Joint:
    """Features (..., n) to a distribution over actions (..., action).

    Args:
      given: Constants (..., label): `label/*`, and what a behaviour adds.
      mask: Bool (..., classes) by action; a row without True allows all.
    """
    ...


@runtime_checkable
class Behavior(Protocol):
  """Acting, and its losses; it owns policy, value and their statistics.

  `extra_space` is the shape and format of what `act` returns beside the action:
  replay stores it as `acting/<name>`. `signals` names what `losses` tells of
  each step beside the losses.

  Optional: `after_update(world, updates)` is called after the optimiser, with
  the number of updates before this one, for averages that follow parameters.
  """

  extra_space: Mapping[str, jax.ShapeDtypeStruct]
  signals: Sequence[str]

  def initial(self, batch_size: int) -> Memory:
    """Memory before an episode: any pytree, every leaf (B, ...)."""
    ...

  def act(
    self,
    world: World,
    carry: Carry,
    feat: Feat,
    memory: Memory,
    obs: Observation,
    key: Array,
    mode: str,
  ) -> tuple[Action, Memory, dict[str, Array]]:
    """Acts for one step, (W, ...).

    Args:
      carry: Of the dynamics after this step, to plan with `predict`.
      obs: `is_first`, by which a memory is reset, `label/*` and `mask/*`.
      mode: `sample`, or `mode` for the most likely action.
    """
    ...

  def losses(
    self,
    replayed: Replayed,
    rewards: Callable[[Dream, Array], Array],
    key: Array,
    update: bool,
  ) -> tuple[Losses, Metrics, Signals]:
    """Losses of any shape, of which the means count.

    Args:
      rewards: Rewards (N, H+1) of a dream, with what objectives add.
      update: Whether statistics learn from this batch.

    Returns:
      Losses, scalar metrics, and signals (B, T) for the selectors of replay.
    """
    ...


@runtime_checkable
class Objective(Protocol):
  """A further loss of the world model, with parameters and targets of its own.

  `scale` multiplies its losses and its reward; 0 leaves it out. The `encoder`
  that its builder is given is there to be copied, as `SlowCopy` does, and not
  to be kept: the live one is in `world`.

  Optional: `reward(world, dream, key)` gives further rewards (N, H+1) of a
  dream, of which entry t is earned on entering state t and entry 0 is ignored;
  `mask(world, feat)` predicts the masks of actions in dreams, as
  `Policy.__call__` takes them; `after_update(world, updates)` as a behaviour's.
  """

  scale: float

  def losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[Losses, Metrics]:
    """Losses (B, T) or () by name, and scalar metrics."""
    ...


@runtime_checkable
class Weighting(Protocol):
  """Losses of the model by name and their scales, to scaled losses.

  A reconstruction has the key of its observation for a name; the other losses
  are those of the dynamics, `rew`, `con`, and what objectives add.

  Optional: `metrics(scales)` gives scalar metrics, such as weights that are
  learnt.
  """

  def __call__(self, losses: Losses, scales: Mapping[str, float]) -> Losses: ...


@runtime_checkable
class Augmentation(Protocol):
  """Map of the observations of a batch to what the encoder sees.

  The targets of losses stay.

  One with a `scale` of 0 is left out.
  """

  def __call__(self, inputs: Observation, key: Array) -> Observation:
    """Observations (B, T, ...) to others of the same shapes and formats."""
    ...
