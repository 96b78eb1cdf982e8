"""The agent: one loss over all components, a policy, and a report."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import contracts, spaces
from dreamer_nnx.agent import behavior, context, openloop, world_model
from dreamer_nnx.agent.predictors import Policy, Predictor, sample
from dreamer_nnx.agent.settings import AgentOptions, LossScales, SlowValue

sg = jax.lax.stop_gradient
Array = jax.Array
Carry = dict[str, dict[str, Array]]

# The losses whose sum per step says how well the model knows that step.
ACTOR_CRITIC = ('policy', 'value', 'repval')


class SlowParam(nnx.Variable):
  """A parameter that moves towards another; not trained by gradients."""


class Agent(nnx.Module):
  """DreamerV3 over components that satisfy the contracts.

  A carry is {'latent': ..., 'action': ...}, both (B, ...), from `initial`.

  Args:
    obs_space: Spaces of what is encoded and decoded, by key.
    action_space: Spaces of the actions, by key.
  """

  def __init__(
    self,
    obs_space: Mapping[str, gym_spaces.Space],
    action_space: Mapping[str, gym_spaces.Space],
    *,
    encoder: contracts.Encoder,
    dynamics: contracts.Dynamics,
    decoder: contracts.Decoder,
    reward: Predictor,
    cont: Predictor,
    policy: Policy,
    value: Predictor,
    slow_value: Predictor,
    retnorm: contracts.Normalizer,
    valnorm: contracts.Normalizer,
    advnorm: contracts.Normalizer,
    options: AgentOptions,
    scales: LossScales,
    slow: SlowValue,
  ):
    self.obs_space, self.action_space = dict(obs_space), dict(action_space)
    self.encoder, self.dynamics, self.decoder = encoder, dynamics, decoder
    self.reward, self.cont = reward, cont
    self.policy, self.value, self.slow_value = policy, value, slow_value
    self.retnorm, self.valnorm, self.advnorm = retnorm, valnorm, advnorm
    self.options, self.scales, self.slow = options, scales, slow

  def initial(self, batch_size: int) -> Carry:
    """Makes a zero latent and a zero action."""
    action = {
      key: jnp.zeros((batch_size, *space.shape), spaces.data_type(space))
      for key, space in self.action_space.items()
    }
    return {'latent': self.dynamics.initial(batch_size), 'action': action}

  def act(
    self, carry: Carry, obs: Mapping[str, Array], key: Array, mode: str
  ) -> tuple[Carry, contracts.Action, contracts.Latent]:
    """Acts for one step.

    Args:
      carry: Latent and action of the step before, (W, ...).
      obs: (W, ...) observations and `is_first`.
      key: PRNG key.
      mode: `sample`, or `mode` for the most likely action.

    Returns:
      Carry, action, and the latent to store in replay.
    """
    filter_key, act_key = jax.random.split(key)
    latent = self.dynamics.step(
      carry['latent'],
      self.encoder(obs),
      carry['action'],
      obs['is_first'],
      filter_key,
    )
    latent = {name: latent[name] for name in self.dynamics.latent_space}
    policy = self.policy(self.dynamics.features(latent))
    if mode == 'sample':
      action = sample(policy, act_key)
    elif mode == 'mode':
      action = {name: output.pred() for name, output in policy.items()}
    else:
      raise ValueError(f"mode = {mode!r}: must be 'sample' or 'mode'.")
    return {'latent': latent, 'action': action}, action, latent

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
      carry: Latent and action after the previous batch.
      batch: (B, context + T, ...), see `context.apply_context`.
      key: PRNG key.
      length: T, steps to train on; those before them are context.
      update: Whether the normalisers learn from this batch.

    Returns:
      The scalar Σ scale · mean(loss), and {'carry', 'latents' (B, T),
      'priority' (B, T), 'metrics', 'losses', 'tokens'}.
    """
    observe_key, imagine_key = jax.random.split(key)
    latent, before, steps = context.apply_context(
      carry, batch, length, self.action_space
    )
    new_latent, latents, tokens = world_model.observe(
      self.encoder, self.dynamics, latent, before, steps, observe_key
    )
    features = self.dynamics.features(latents)
    losses, metrics = self.dynamics.losses(latents)
    losses |= world_model.prediction_losses(
      self.reward, self.cont, features, steps, self.options
    )
    losses |= world_model.reconstruction_losses(
      self.decoder, self.obs_space, latents, steps
    )
    more, mets = self._behavior_losses(
      latents, features, steps, imagine_key, update
    )
    losses, metrics = losses | more, metrics | mets
    metrics |= {f'loss/{name}': x.mean() for name, x in losses.items()}
    scaled = {name: self._scale(name) * x for name, x in losses.items()}
    model = [x for name, x in scaled.items() if name not in ACTOR_CRITIC]
    aux = {
      'carry': {
        'latent': new_latent,
        # (B, context + T, ...) to (B, ...).
        'action': {k: batch[k][:, -1] for k in self.action_space},
      },
      'latents': {k: latents[k] for k in self.dynamics.latent_space},
      'priority': sg(sum(model)),
      'metrics': metrics,
      'losses': losses,
      'tokens': tokens,
    }
    return sum(x.mean() for x in scaled.values()), aux

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
    loss_key, video_key = jax.random.split(key)
    _, aux = self.loss(carry, batch, loss_key, length=length, update=False)
    latent, before, steps = context.apply_context(
      carry, batch, length, self.action_space
    )
    videos = openloop.videos(
      self.dynamics,
      self.decoder,
      self.obs_space,
      latent,
      aux['tokens'],
      before,
      steps,
      video_key,
    )
    return aux['metrics'], videos

  def after_update(self, updates: Array) -> None:
    """Moves the slow value towards the value."""
    due = updates % self.slow.every == 0
    rate = jnp.where(due, self.slow.rate, 0)
    mix = lambda slow, new: rate * new + (1 - rate) * slow
    current = nnx.to_pure_dict(nnx.state(self.value, nnx.Param))
    before = nnx.to_pure_dict(nnx.state(self.slow_value, SlowParam))
    nnx.update(self.slow_value, jax.tree.map(mix, before, current))

  def _scale(self, name: str) -> float:
    return self.scales.weight('rec' if name in self.obs_space else name)

  @jax.named_scope('behave')
  def _behavior_losses(self, latents, features, steps, key, update):
    batch, length = steps['is_first'].shape
    count = min(self.options.imag_last or length, length)
    # (B, T, ...) to (B, K, ...), and to (N, ...) with N = B·K.
    recent = lambda x: x[:, -count:]
    flat = lambda x: recent(x).reshape(batch * count, *x.shape[2:])
    starts = {k: flat(latents[k]) for k in self.dynamics.latent_space}
    critic = behavior.Critic(self.value, self.slow_value, self.valnorm)
    losses, returns, metrics = self._imagination_losses(
      starts, flat(features), critic, key, update
    )
    # (N, H) to (N,), and to (B, K).
    losses = {k: x.mean(1).reshape(batch, count) for k, x in losses.items()}
    if self.options.repval_loss and count > 1:
      inputs = features if self.options.repval_grad else sg(features)
      flags = {
        k: recent(steps[k]) for k in ('reward', 'is_last', 'is_terminal')
      }
      # (N, H) to (N,), and to (B, K).
      boot = returns[:, 0].reshape(batch, count)
      losses |= behavior.replay_losses(
        recent(inputs), flags, boot, critic, self.options, update
      )
    return losses, metrics

  def _imagination_losses(self, starts, features, critic, key, update):
    """Imagines from (N, ...) latents, of which these are the features."""
    imagined, action = behavior.imagine(
      self.dynamics, self.policy, starts, self.options.imag_length, key
    )
    # (N, F) to (N, 1, F), before the imagined (N, H, F).
    first = features[:, None]
    first = first if self.options.ac_grads else sg(first)
    trajectory = jnp.concatenate([first, imagined], 1)
    return behavior.imagination_losses(
      trajectory,
      action,
      self.policy(trajectory),
      sg(self.reward(sg(trajectory)).pred()),
      sg(self.cont(sg(trajectory)).prob(1)),
      critic,
      self.retnorm,
      self.advnorm,
      self.options,
      update,
    )
