"""Checks of what predicts: heads, predictors, decoders."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from dreamer_nnx import contracts, spaces
from dreamer_nnx.checks.model import each_lead
from dreamer_nnx.checks.tracing import (
  FLOATS,
  LENGTH,
  ROWS,
  a_key,
  copied,
  described,
  expect_array,
  expect_dict,
  floats,
  inputs,
  refuse,
  traced,
)
from dreamer_nnx.spacetypes import Space

LEAD = (ROWS, LENGTH)
# What learning needs of every output, and acting of one over actions.
LEARNED = ('pred', 'loss')
CONTINUES = ('pred', 'loss', 'prob')
ACTED = ('pred', 'sample', 'logp', 'entropy')


def check_output(
  output: Any,
  space: Space,
  target: Any,
  lead: tuple[int, ...],
  needs: tuple[str, ...],
  what: str,
) -> None:
  """Checks a distribution over one event of a space, inside of a trace.

  Args:
    target: An event (*lead, *space.shape).
    needs: Methods that it must have.
  """
  lacks = [name for name in needs if not callable(getattr(output, name, None))]
  if lacks:
    named = ', '.join(f'`{name}`' for name in lacks)
    refuse(what, f'a distribution with {named}', output)
  event = (*lead, *space.shape)
  for name in needs:
    named = f'`{name}` of {what}'
    if name in ('loss', 'logp'):
      expect_array(getattr(output, name)(target), lead, FLOATS, named)
    elif name == 'prob':
      expect_array(output.prob(1), lead, FLOATS, named)
    elif name == 'entropy':
      expect_array(output.entropy(), lead, FLOATS, named)
    else:
      value = output.pred() if name == 'pred' else output.sample(a_key())
      expect_array(value, event, None, named)


def check_head(
  head: contracts.Head,
  input_size: int,
  space: Space,
  dtype: Any,
  path: str,
  needs: tuple[str, ...] = LEARNED,
) -> None:
  """Checks the output of (2, 3) activations.

  Args:
    dtype: The compute format.
    needs: `ACTED` for a head over actions.

  Raises:
    UserError: It breaks its contract.
  """

  def trace(x, target):
    what = 'the output'
    check_output(copied(head)(x), space, target, LEAD, needs, what)

  target = inputs({'target': space}, LEAD)['target']
  traced(path, 'the output', trace, floats((*LEAD, input_size), dtype), target)


def check_predictor(
  predictor: Callable[[contracts.Feat], contracts.Output],
  feat_space: Mapping[str, int],
  space: Space,
  dtype: Any,
  path: str,
  needs: tuple[str, ...] = LEARNED,
) -> None:
  """Checks the output of (2, 3) features.

  Raises:
    UserError: It breaks its contract.
  """

  def trace(feat, target):
    what = 'the output'
    check_output(copied(predictor)(feat), space, target, LEAD, needs, what)

  target = inputs({'target': space}, LEAD)['target']
  traced(path, 'the output', trace, features(feat_space, LEAD, dtype), target)


def features(feat_space: Mapping[str, int], lead, dtype) -> dict:
  """Shapes of features."""
  return {k: floats((*lead, size), dtype) for k, size in feat_space.items()}


def check_decoder(
  decoder: contracts.Decoder,
  feat_space: Mapping[str, int],
  obs_space: Mapping[str, Space],
  dtype: Any,
  path: str,
) -> tuple[str, ...]:
  """Checks the outputs of (2,) and of (2, 3) features.

  Args:
    obs_space: The keys that may be decoded.
    dtype: The compute format.

  Returns:
    The keys that are.

  Raises:
    UserError: It breaks its contract.
  """

  decoded = []

  def decode(lead):
    def trace(feat, targets):
      outputs = copied(decoder)(feat)
      expect_dict(outputs, 'outputs')
      for key, output in outputs.items():
        if key not in obs_space:
          promise = f'{described(obs_space)} or some of them'
          refuse('outputs', promise, outputs)
        what = f'the output {key!r} of {lead} features'
        target = targets[key]
        if spaces.is_image(obs_space[key]):
          target = target.astype(jnp.float32) / 255
        check_output(output, obs_space[key], target, lead, LEARNED, what)
      decoded[:] = outputs

    feat = features(feat_space, lead, dtype)
    what = f'outputs of {lead} features'
    traced(path, what, trace, feat, inputs(obs_space, lead))

  each_lead(decode, path)
  return tuple(decoded)
