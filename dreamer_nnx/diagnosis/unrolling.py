"""Errors of what is imagined, by the number of steps since the last look.

Letters: B sequences, T steps, S latent variables.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import spaces, streams
from dreamer_nnx.agent import openloop
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.contracts import Replayed
from dreamer_nnx.numerics.outputs import value

Array = jax.Array
REWARD, CONT = 'reward', 'cont'


@dataclasses.dataclass(frozen=True)
class Errors:
  """Mean errors by step, (T,) each; NaN where no sequence counts.

  Args:
    seen: Steps that were observed; those after them are imagined.
    imagined: By observation, `reward` and `cont`.
    observed: Likewise, had every step been observed.
    still: Likewise, if everything stayed as in the last observed step.
    count: Sequences that count at each step: those without a reset so far.
  """

  seen: int
  imagined: dict[str, np.ndarray]
  observed: dict[str, np.ndarray]
  still: dict[str, np.ndarray]
  count: np.ndarray


def errors(agent: Agent, replayed: Replayed, key: Array) -> dict[str, Array]:
  """Computes errors (B, T) of sequences; see `summary`.

  Of observations it is the mean absolute difference over their elements, of
  images in [0, 1], of classes the share that is wrong; of the reward the
  absolute difference, and of `cont` that of the probability from what happened.
  """
  length = replayed.tokens.shape[1]
  seen = max(1, length // 2)
  feat = openloop.unrolled(replayed, seen, streams.at(key, 'unrolled'))
  truth = _truth(agent, replayed.steps)
  parts = {
    'imagined': _differences(agent, _predicted(agent, feat), truth),
    'observed': _differences(
      agent, _predicted(agent, replayed.observed.feat), truth
    ),
    'still': _differences(
      agent,
      {k: _stays(x, seen) for k, x in truth.items()},
      truth,
    ),
  }
  found = {
    f'{kind}/{name}': x
    for kind, part in parts.items()
    for name, x in part.items()
  }
  # An episode that begins while nothing is looked at cannot be foreseen.
  begun = replayed.steps['is_first'] & (jnp.arange(length) >= seen)
  return found | {'alone': jnp.cumsum(begun, 1) == 0}


def summary(arrays: Mapping[str, np.ndarray]) -> Errors:
  """Averages errors (B, T) over sequences."""
  alone = np.asarray(arrays['alone'], bool)
  kinds = {'imagined': {}, 'observed': {}, 'still': {}}
  for path, array in arrays.items():
    kind, _, name = path.partition('/')
    if kind in kinds:
      known = np.where(alone, np.asarray(array, np.float64), np.nan)
      counts = alone.sum(0)
      total = np.nansum(known, 0)
      mean = total / np.maximum(counts, 1)
      kinds[kind][name] = np.where(counts > 0, mean, np.nan)
  length = alone.shape[1]
  return Errors(max(1, length // 2), **kinds, count=alone.sum(0))


def _truth(agent: Agent, steps: Mapping[str, Array]) -> dict[str, Array]:
  found = {key: steps[key] for key in spaces.encoded(agent.obs_space)}
  found[REWARD] = steps['reward']
  found[CONT] = 1 - steps['is_terminal'].astype(jnp.float32)
  return found


def _predicted(agent: Agent, feat) -> dict[str, Array]:
  found = {key: value(out) for key, out in agent.decoder(feat).items()}
  for key in found:
    if spaces.is_image(agent.obs_space[key]):
      found[key] = found[key] * 255
  cont = agent.cont(feat).prob(1)
  if agent.options.contdisc:
    cont = cont / agent.options.discount
  return found | {REWARD: agent.reward(feat).pred(), CONT: cont}


def _differences(agent: Agent, predicted, truth) -> dict[str, Array]:
  """Mean differences (B, T) of all that is predicted."""
  found = {}
  for name, guess in predicted.items():
    true, space = truth[name], agent.obs_space.get(name)
    if name not in (REWARD, CONT) and spaces.is_discrete(space):
      apart = (guess != true).astype(jnp.float32)
    else:
      apart = jnp.abs(guess.astype(jnp.float32) - true.astype(jnp.float32))
      if space is not None and spaces.is_image(space):
        apart = apart / 255
    found[name] = apart.reshape(*apart.shape[:2], -1).mean(-1)
  return found


def _stays(x: Array, seen: int) -> Array:
  """The last observed step of (B, T, ...) in all steps after it."""
  late = jnp.broadcast_to(x[:, seen - 1 : seen], x[:, seen:].shape)
  return jnp.concatenate([x[:, :seen], late], 1)
