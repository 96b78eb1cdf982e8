"""Diagnoses the agent of a checkpoint."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import contracts, dream_steps, recorded, spaces, streams
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.world_model import observations
from dreamer_nnx.diagnosis import gradients, latents, unrolling, values
from dreamer_nnx.dreams import plain
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained

# Batches of the replay that are looked at, and episodes that are played.
BATCHES, EPISODES = 8, 8
# Steps of an episode that are played at most.
MAX_STEPS = 2_000


@dataclasses.dataclass(frozen=True)
class Diagnosis:
  """Findings about an agent; None where it could not be.

  Args:
    agent: The checkpoint, in words.
    losses: Mean of each loss by step, (T,).
    codes: Use of the latent codes.
    norms: Norm of the gradient of each scaled loss.
    bad: First array of the checkpoint that is not finite; empty for none.
    missing: Why something is None, a sentence each.
  """

  agent: str
  bad: str
  errors: unrolling.Errors | None = None
  codes: latents.Latents | None = None
  norms: dict[str, float] | None = None
  losses: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  calibration: values.Calibration | None = None
  missing: tuple[str, ...] = ()


def diagnose(
  trained: Trained,
  trust_config: bool = False,
  say: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
  """Looks at a checkpoint, at batches of its replay, and at episodes.

  Args:
    say: Told what is being done, for it takes a while.

  Raises:
    UntrustedError: The run's config names code and is not trusted.
  """
  parts = configs.bind_all(recorded.config(trained, trust_config))
  arrays = trained.arrays(trained.layout.shapes)
  bad, found, missing = gradients.first_bad(arrays), {}, []
  for what, function in (
    ('replay', functools.partial(_of_replay, trained, parts, arrays)),
    ('episodes', functools.partial(_of_episodes, trained, parts, arrays)),
  ):
    say(f'Diagnosing {trained}: {what} ...')
    try:
      found |= function()
    except (UserError, EnvError) as error:
      missing.append(f'Nothing is known of its {what}: {error}')
  return Diagnosis(str(trained), bad, **found, missing=tuple(missing))


def _of_replay(
  trained: Trained, parts: configs.Bound, arrays: Mapping[str, jax.Array]
) -> dict[str, Any]:
  length = parts['train']().batch_length
  with recorded.replay(trained, parts) as replay:
    batches = [dict(replay.sample()[0]) for _ in range(BATCHES)]
  key = functools.partial(streams.key, trained.seed, Stream.DREAM, 0)
  look = trained.compiled(_look, 'length')
  seen = [
    jax.device_get(look(arrays, batch, key(i), length=length))
    for i, batch in enumerate(batches)
  ]
  joined = {
    part: {k: np.concatenate([x[part][k] for x in seen]) for k in seen[0][part]}
    for part in ('errors', 'entries', 'losses')
  }
  metrics = {
    k: float(np.mean([x['metrics'][k] for x in seen]))
    for k in seen[0]['metrics']
  }
  each = gradients.Gradients(trained, length)
  steps = {k: x for k, x in joined['losses'].items() if x.shape[1] == length}
  return {
    'errors': unrolling.summary(joined['errors']),
    'codes': latents.summary(joined['entries'], steps, metrics),
    'norms': each.norms(arrays, batches[0], key(BATCHES)),
    'losses': {k: x.mean(0) for k, x in steps.items()},
  }


def _look(agent: Agent, batch, key, *, length):
  """Computes what is looked at of a batch."""
  carry = agent.initial(len(batch['is_first']))
  _, aux = agent.loss(carry, batch, key, length=length, update=False)
  return {
    'errors': unrolling.errors(agent, aux['replayed'], streams.at(key, 'roll')),
    'entries': aux['entries'],
    'losses': {k: x for k, x in aux['losses'].items() if x.ndim == 2},
    'metrics': aux['metrics'],
  }


def _of_episodes(
  trained: Trained, parts: configs.Bound, arrays: Mapping[str, jax.Array]
) -> dict[str, Any]:
  agent = trained.layout.partial({})
  if getattr(agent.behavior, 'critic', None) is None:
    raise UserError('its behaviour has no critic.')
  seed = streams.seed(trained.seed, Stream.EVALUATION_ENVS, 2)
  envs = make_vector_env(parts['env'], EPISODES, seed)
  with contextlib.closing(envs):
    episodes = _played(trained, arrays, envs)
  discount = 1 - 1 / agent.options.horizon
  return {'calibration': values.calibration(episodes, discount)}


def _played(
  trained: Trained, arrays: Mapping[str, jax.Array], envs: contracts.VectorEnv
) -> list[values.Episode]:
  """Plays an episode in each environment, by sampled actions."""
  act = trained.compiled(_valued)
  begin = trained.compiled(lambda agent: agent.initial(envs.num_envs))
  carry, step = begin({}), envs.reset()
  key = streams.key(trained.seed, Stream.POLICY)
  worth, rewards, running = [], [], np.ones(envs.num_envs, bool)
  ends = np.full(envs.num_envs, MAX_STEPS - 1)
  terminal = np.zeros(envs.num_envs, bool)
  for count in range(MAX_STEPS):
    seen = {k: x for k, x in step.items() if not k.startswith(spaces.LOG)}
    carry, action, value = act(arrays, carry, seen, key, count)
    worth.append(plain(value, (envs.num_envs,)))
    rewards.append(np.array(step['reward']))
    ended = running & step['is_last']
    ends[ended], terminal[ended] = count, step['is_terminal'][ended]
    running &= ~ended
    if not running.any():
      break
    step = envs.step({k: np.asarray(x) for k, x in action.items()})
  table = np.stack(worth), np.stack(rewards)
  return [
    values.Episode(*(x[: end + 1, row] for x in table), bool(terminal[row]))
    for row, end in enumerate(np.minimum(ends, len(worth) - 1))
  ]


def _valued(agent: Agent, carry, obs, key, count):
  """Acts once, and predicts the value of the state."""
  key = jax.random.fold_in(key, count)
  # The state that `act` acts in: by the same key it draws the same.
  _, observed = agent.dynamics.step(
    carry['dynamics'],
    agent.encoder(observations(obs, tuple(agent.action_space))),
    carry['action'],
    obs['is_first'],
    streams.at(key, 'dynamics'),
  )
  carry, action, _ = agent.act(carry, obs, key, 'sample')
  _, _, worth = dream_steps.predicted(agent, observed.feat)
  return carry, action, worth
