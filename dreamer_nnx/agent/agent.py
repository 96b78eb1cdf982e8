"""The agent: one loss over all components, a policy, and a report."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts, spaces, streams
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent import context, openloop, world_model
from dreamer_nnx.agent.settings import LossScales
from dreamer_nnx.contracts import Dream, Replayed, World
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.spacetypes import Space

sg = jax.lax.stop_gradient
Array = jax.Array
# {'dynamics': a carry, 'memory': of the behaviour, 'action': the last}.
Carry = dict[str, contracts.Carry]


class Agent(nnx.Module):
  """DreamerV3 over components that satisfy the contracts.

  A carry is {'dynamics', 'memory', 'action'}, all (B, ...), from `initial`.

  Args:
    obs_space: Spaces of the observations that replay keeps, by key.
    action_space: Spaces of the actions, by key.
    objectives, augmentations: By name; those of scale 0 are left out.
  """

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    action_space: Mapping[str, Space],
    *,
    encoder: contracts.Encoder,
    dynamics: contracts.Dynamics,
    decoder: contracts.Decoder,
    reward: Predictor,
    cont: Predictor,
    behavior: contracts.Behavior,
    objectives: Mapping[str, contracts.Objective],
    weighting: contracts.Weighting,
    augmentations: Mapping[str, contracts.Augmentation],
    options: AgentOptions,
    scales: LossScales,
  ):
    self.obs_space, self.action_space = dict(obs_space), dict(action_space)
    self.encoder, self.dynamics, self.decoder = encoder, dynamics, decoder
    self.reward, self.cont, self.behavior = reward, cont, behavior
    self.objectives = nnx.data(dict(objectives))
    self.augmentations = nnx.data(dict(augmentations))
    self.weighting = weighting
    self.options, self.scales = options, scales

  @property
  def world(self) -> World:
    """The live modules, for one call."""
    return World(
      self.encoder,
      self.dynamics,
      self.decoder,
      self.reward,
      self.cont,
      self.behavior,
      dict(self.objectives),
    )

  def initial(self, batch_size: int) -> Carry:
    """Makes the carry before an episode; the action is zero."""
    return {
      'dynamics': self.dynamics.initial(batch_size),
      'memory': self.behavior.initial(batch_size),
      'action': {
        key: jnp.zeros((batch_size, *space.shape), spaces.data_type(space))
        for key, space in self.action_space.items()
      },
    }

  def look(
    self, carry: Carry, obs: Mapping[str, Array], key: Array
  ) -> tuple[contracts.Carry, contracts.Observed]:
    """Observes a step as `act` does; returns the carry of the dynamics."""
    seen = world_model.observations(obs, tuple(self.action_space))
    return self.dynamics.step(
      carry['dynamics'],
      self.encoder(seen),
      carry['action'],
      obs['is_first'],
      streams.at(key, 'dynamics'),
    )

  def act(
    self, carry: Carry, obs: Mapping[str, Array], key: Array, mode: str
  ) -> tuple[Carry, contracts.Action, dict[str, Array]]:
    """Acts for one step.

    Args:
      carry: From the step before, (W, ...).
      obs: (W, ...) observations and `is_first`.
      key: PRNG key.
      mode: `sample`, or `mode` for the most likely action.

    Returns:
      Carry, action, and what to store in replay beside them: `latent/*` and
      `acting/*`.
    """
    if mode not in ('sample', 'mode'):
      raise ValueError(f"mode = {mode!r}: must be 'sample' or 'mode'.")
    latent, observed = self.look(carry, obs, key)
    told = spaces.labels(obs) | {
      k: x for k, x in obs.items() if k.startswith(spaces.MASK)
    }
    action, memory, extra = self.behavior.act(
      self.world,
      latent,
      observed.feat,
      carry['memory'],
      told | {'is_first': obs['is_first']},
      streams.at(key, 'behavior'),
      mode,
    )
    kept = {context.LATENT + k: x for k, x in observed.entry.items()}
    kept |= {context.ACTING + k: x for k, x in extra.items()}
    carry = {'dynamics': latent, 'memory': memory, 'action': action}
    return carry, action, kept

  def loss(
    self,
    carry: Carry,
    batch: Mapping[str, Array],
    key: Array,
    *,
    length: int,
    update: bool = True,
  ) -> tuple[Array, dict]:
    """Computes the total loss of a replayed batch.

    Args:
      carry: After the previous batch.
      batch: (B, context + T, ...), see `contracts.Replay.sample`.
      key: PRNG key.
      length: T, steps to train on; those before them are context.
      update: Whether statistics learn from this batch.

    Returns:
      The scalar Σ mean(scaled loss), and {'carry', 'entries' (B, T),
      'signals' (B, T), 'metrics', 'losses', 'replayed'}.
    """
    window = context.window(batch, length, self.action_space)
    augmentations = dict(self.augmentations) if update else {}
    end, replayed = world_model.observe(
      self.world, augmentations, window, carry['dynamics'], carry['action'], key
    )
    model, metrics, scales = self._model_losses(replayed, key, update)
    scaled = self.weighting(model, scales)
    if hasattr(self.weighting, 'metrics'):
      metrics |= self.weighting.metrics(scales)
    acting, more, signals = self.behavior.losses(
      replayed, self._rewards, streams.at(key, 'behavior'), update
    )
    losses = merged(model, acting)
    metrics |= more
    metrics |= {f'loss/{name}': x.mean() for name, x in losses.items()}
    of_steps = [x for x in scaled.values() if x.ndim == 2]
    aux = {
      'carry': {
        'dynamics': end,
        'memory': carry['memory'],
        # (B, context + T, ...) to (B, ...).
        'action': {k: batch[k][:, -1] for k in self.action_space},
      },
      'entries': replayed.observed.entry,
      'signals': sg({'model': sum(of_steps)} | signals),
      'metrics': metrics,
      'losses': losses,
      'replayed': replayed,
    }
    acting = {k: self.scales.weight(k) * x for k, x in acting.items()}
    return sum(x.mean() for x in (*scaled.values(), *acting.values())), aux

  def report(
    self,
    carry: Carry,
    batch: Mapping[str, Array],
    key: Array,
    *,
    length: int,
  ) -> tuple[dict[str, Array], dict[str, Array]]:
    """Computes metrics of a batch without learning, and open-loop videos.

    Returns:
      Scalars; and {key: (T, H', W', C) uint8} videos of the image keys.
    """
    _, aux = self.loss(
      carry, batch, streams.at(key, 'loss'), length=length, update=False
    )
    videos = openloop.videos(
      aux['replayed'], self.obs_space, streams.at(key, 'video')
    )
    return aux['metrics'], videos

  def after_update(self, updates: Array) -> None:
    """Lets components follow their parameters: slow copies, averages."""
    world = self.world
    for component in (self.behavior, *self.objectives.values()):
      if hasattr(component, 'after_update'):
        component.after_update(world, updates)

  def loss_scales(self, names: Iterable[str]) -> dict[str, float]:
    """Looks up the scales of losses that are no objective's."""
    name_of = lambda name: 'rec' if name in self.obs_space else name
    return {name: self.scales.weight(name_of(name)) for name in names}

  def _model_losses(
    self, replayed: Replayed, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics, dict[str, float]]:
    """Computes the losses of the model and of all objectives, unscaled."""
    losses, metrics = self.dynamics.losses(replayed.observed)
    losses = merged(
      losses,
      world_model.prediction_losses(replayed, self.options),
      world_model.reconstruction_losses(self.decoder, self.obs_space, replayed),
    )
    scales = self.loss_scales(losses)
    for name, objective in self.objectives.items():
      more, mets = objective.losses(
        replayed, streams.at(key, f'objectives.{name}'), update
      )
      losses, metrics = merged(losses, more), metrics | mets
      scales |= dict.fromkeys(more, objective.scale)
    return losses, dict(metrics), scales

  def _rewards(self, dream: Dream, key: Array) -> Array:
    """Computes rewards (N, H+1) of dreams: scaled, with those of objectives."""
    total = self.options.extrinsic_scale * dream.reward
    for name, objective in self.objectives.items():
      if hasattr(objective, 'reward'):
        more = objective.reward(
          self.world, dream, streams.at(key, f'objectives.{name}')
        )
        total += objective.scale * sg(more)
    return total


def merged(*groups: contracts.Losses) -> contracts.Losses:
  """Joins losses by name.

  Raises:
    UserError: Two have the same name.
  """
  result = {}
  for group in groups:
    for name, loss in group.items():
      if name in result:
        what = f'two losses are named {name!r}. Rename one of them.'
        raise UserError(what, 'config.objectives')
      result[name] = loss
  return result
