"""Diagnoses the agent of a checkpoint."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import explaining, recorded, streams
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.diagnosis import (
  gradients,
  latents,
  playing,
  unrolling,
  values,
)
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained

# Batches of the replay that are looked at, and episodes that are played.
BATCHES, EPISODES = 8, 8
REPLAY, FRESH = 'the replay', 'fresh episodes'
# Letters of a message of a stranger.
LONGEST = 500
Batches = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Diagnosis:
  """Findings about an agent; None where it could not be.

  Args:
    agent: The checkpoint, in words.
    bad: First array of the checkpoint that is not finite; empty for none.
    source: Where the steps are from, of which all but the value is computed.
    losses: Mean of each loss by step, (T,).
    codes: Use of the latent codes.
    norms: Norm of the gradient of each scaled loss.
    missing: Why something is None, a sentence each.
  """

  agent: str
  bad: str
  source: str = ''
  errors: unrolling.Errors | None = None
  codes: latents.Latents | None = None
  norms: dict[str, float] | None = None
  losses: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  calibration: values.Calibration | None = None
  missing: tuple[str, ...] = ()

  @property
  def warnings(self) -> list[str]:
    """Says what is wrong, a sentence each."""
    found = []
    if self.bad:
      found.append(
        f'Numbers of the checkpoint are not finite; {self.bad} is the first '
        'array by name that has one.'
      )
    told = (self.codes, self.calibration)
    found += [part.warning for part in told if part is not None]
    spoilt = [k for k, x in (self.norms or {}).items() if not np.isfinite(x)]
    if spoilt and not self.bad:
      found.append(f'Gradients are not finite: of {", ".join(sorted(spoilt))}.')
    return [text for text in found if text]


def diagnose(
  trained: Trained,
  trust_config: bool = False,
  say: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
  """Looks at a checkpoint, at batches of its replay, and at episodes.

  Where there is no replay, the steps of these episodes stand for it.

  Args:
    say: Told what is being done, for it takes a while.

  Raises:
    UntrustedError: The run's config names code and is not trusted.
  """
  parts = configs.bind_all(recorded.config(trained, trust_config))
  arrays = trained.arrays(trained.layout.shapes)
  found: dict[str, Any] = {'bad': gradients.first_bad(arrays)}
  missing, batches = [], []
  say(f'Diagnosing {trained}: playing {EPISODES} episodes ...')
  with _missing('its value', missing):
    played = _played(trained, parts, arrays)
    batches, found['source'] = played.batches, FRESH
    found['calibration'] = _calibration(trained, played)
  say(f'Diagnosing {trained}: looking at its replay ...')
  with _missing('its replay', missing):
    batches, found['source'] = _drawn(trained, parts), REPLAY
  with _missing('its world model', missing):
    found |= _of_batches(trained, parts, arrays, batches)
  return Diagnosis(str(trained), **found, missing=tuple(missing))


@contextlib.contextmanager
def _missing(what: str, sentences: list[str]) -> Iterator[None]:
  """Goes on after any error, of which it keeps a sentence."""
  try:
    yield
  # An environment, a plugin or a file of a stranger may raise anything.
  except Exception as error:
    sentences.append(f'Nothing is known of {what}: {reason(error)}')


def reason(error: Exception) -> str:
  """Says in a line why something failed."""
  text = ' '.join(explaining.explain(error).split())
  if not explaining.expected(error):
    text = f'{type(error).__name__}: {text}'
  return text if len(text) <= LONGEST else f'{text[: LONGEST - 1]}…'


def _drawn(trained: Trained, parts: configs.Bound) -> Batches:
  with recorded.replay(trained, parts) as replay:
    return [dict(replay.sample()[0]) for _ in range(BATCHES)]


def _played(
  trained: Trained, parts: configs.Bound, arrays: Mapping[str, jax.Array]
) -> playing.Played:
  seed = streams.seed(trained.seed, Stream.EVALUATION_ENVS, 2)
  train = parts['train']()
  # There may be no more of them than the run had, such as one robot. These
  # keep the pace of the run, too.
  count = min(EPISODES, train.envs)
  envs = make_vector_env(parts['env'], count, seed)
  with contextlib.closing(envs):
    each = -(-EPISODES // count)
    given = train.batch_length, BATCHES, each
    return playing.play(trained, arrays, envs, *given)


def _calibration(
  trained: Trained, played: playing.Played
) -> values.Calibration:
  if not played.episodes:
    raise UserError('its behaviour has no critic.')
  discount = 1 - 1 / trained.layout.partial({}).options.horizon
  return values.calibration(played.episodes, discount)


def _of_batches(
  trained: Trained,
  parts: configs.Bound,
  arrays: Mapping[str, jax.Array],
  batches: Batches,
) -> dict[str, Any]:
  if not batches:
    raise UserError('there are no steps of it to look at.')
  length = parts['train']().batch_length
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
