"""Episodes of an agent, with its values and with windows of their steps.

Letters: W environments, C steps of context, T steps that are looked at.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dreamer_nnx import contracts, dream_steps, spaces, streams
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.diagnosis.values import Episode
from dreamer_nnx.dreams import plain
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained
from dreamer_nnx.training.batch_check import FLAGS

Steps = Mapping[str, np.ndarray]
# Steps that are played at most.
MAX_STEPS = 2_000


@dataclasses.dataclass(frozen=True)
class Played:
  """Steps that were played.

  Args:
    episodes: The first of each environment, in order; empty without a critic.
    batches: All steps as a replay would give them, (W, C + T, ...).
  """

  episodes: list[Episode]
  batches: list[dict[str, np.ndarray]]


def play(
  trained: Trained,
  arrays: Mapping[str, jax.Array],
  envs: contracts.VectorEnv,
  length: int,
  most: int,
  each: int = 1,
) -> Played:
  """Plays episodes in each environment, by sampled actions.

  Args:
    length: T; a window is played at least, as far as `MAX_STEPS` allows.
    most: Number of batches at most.
    each: Number of episodes of each environment, as far as `MAX_STEPS` allows.
  """
  act = trained.compiled(_valued)
  begin = trained.compiled(lambda agent: agent.initial(envs.num_envs))
  carry, step = begin({}), envs.reset()
  key = streams.key(trained.seed, Stream.POLICY)
  window = trained.layout.context + length
  kept = {*spaces.stored(trained.interface.obs_space), *FLAGS}
  told, steps, ended = [], [], np.zeros(envs.num_envs, int)
  for count in range(MAX_STEPS):
    seen = {k: x for k, x in step.items() if not k.startswith(spaces.LOG)}
    carry, action, value, extra = act(arrays, carry, seen, key, count)
    action, extra = jax.device_get((action, extra))
    told.append((value, *(np.array(step[name]) for name in FLAGS)))
    if count < most * window:
      copied = {k: np.array(x) for k, x in seen.items() if k in kept}
      steps.append(copied | action | extra)
    ended += step['is_last']
    if (ended >= each).all() and count + 1 >= window:
      break
    step = envs.step(action)
  worth, *flags = zip(*told, strict=True)
  flags = dict(zip(FLAGS, map(np.stack, flags), strict=True))
  episodes = []
  if worth[0] is not None:
    table = np.stack([plain(x, (envs.num_envs,)) for x in worth])
    episodes = _episodes(table, flags, each)
  batches = _windows(steps, window, trained.layout.context)
  return Played(episodes, batches)


def _episodes(worth: np.ndarray, flags: Steps, each: int) -> list[Episode]:
  """The first episodes of each column of (steps, W)."""
  found = []
  for row in range(worth.shape[1]):
    ends = np.flatnonzero(flags['is_last'][:, row])[:each]
    begin = 0
    for end in ends if len(ends) else [len(worth) - 1]:
      part = slice(begin, end + 1), row
      terminal = bool(flags['is_terminal'][end, row])
      found.append(Episode(worth[part], flags['reward'][part], terminal))
      begin = end + 1
  return found


def _windows(
  steps: Sequence[Steps], window: int, context: int
) -> list[dict[str, np.ndarray]]:
  """Cuts steps (W, ...) into whole windows (W, C + T, ...)."""
  found = []
  for start in range(0, len(steps) - window + 1, window):
    part = steps[start : start + window]
    batch = {k: np.stack([x[k] for x in part], 1) for k in part[0]}
    # Without a context it begins from nothing.
    rows = np.full(len(batch['is_first']), 0 if context else -1, np.int32)
    found.append(batch | {CONSEC: rows})
  return found


def _valued(agent: Agent, carry, obs, key, count):
  """Acts once, and predicts the value of the state."""
  key = jax.random.fold_in(key, count)
  # The state that `act` acts in: by the same key it draws the same.
  _, observed = agent.look(carry, obs, key)
  carry, action, extra = agent.act(carry, obs, key, 'sample')
  _, _, worth = dream_steps.predicted(agent, observed.feat)
  return carry, action, worth, extra
