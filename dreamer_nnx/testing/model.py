"""Checks of encoders, decoders, heads and policies."""

from typing import Any

import jax
import numpy as np
from gymnasium import spaces as gym_spaces

from dreamer_nnx import checks, spaces
from dreamer_nnx.checks.acting import check_joint
from dreamer_nnx.errors import UserError
from dreamer_nnx.slots import DECODER, ENCODER, HEAD, POLICY
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import (
  expect,
  expect_close,
  expect_equal,
  expect_finite,
  promising,
)
from dreamer_nnx.testing.live import (
  Live,
  abstractly,
  check_axes,
  check_gradients,
  check_round_trip,
  named,
)

LEAD = (toys.ROWS, toys.LENGTH)
APART = 'each row is computed by itself'


def check_encoder(
  component: toys.Component,
  *,
  obs_space: toys.Spaces | None = None,
  frozen: tuple[str, ...] = (),
  **fields: Any,
) -> None:
  """Checks an encoder.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.
    obs_space: Spaces to try it on; several toy ones without.
    frozen: Regular expressions of parameters that are not to have gradients.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(ENCODER, component)
  choice = toys.choice(ENCODER, component, fields)
  every = {'given': obs_space} if obs_space else toys.observations()
  with promising(name):
    for space, precision in toys.settings(every):

      def build(space=space, precision=precision):
        encoder = toys.build(choice, obs_space=space, precision=precision)
        checks.check_encoder(encoder, space, choice.path)

      abstractly(build)
    space = next(iter(every.values()))
    kw = {'obs_space': space, 'precision': toys.FLOAT32}
    live = Live(lambda: toys.build(choice, **kw))
  obs = toys.values(space, LEAD)
  encode = lambda encoder, obs: {'tokens': encoder(obs)}
  _check_map(name, live, encode, obs, frozen)


def _check_map(name, live: Live, function, inputs, frozen) -> None:
  """Checks a function of rows (B, T, ...) that has no state."""
  check_axes(name, live)

  def loss(component, inputs):
    result = function(component, inputs)
    return toys.functional(result), result

  gradients, _ = live.gradients(loss, inputs)
  check_gradients(name, gradients, frozen)
  before = named(live.call(function, inputs))
  expect_finite(name, before, 'results')
  # (B, T, ...) to (T, ...), the second row alone.
  row = jax.tree.map(lambda x: x[1], inputs)
  alone = named(live.call(function, row))
  expect_close(name, alone, {k: x[1] for k, x in before.items()}, APART)
  check_round_trip(name, live, function, row)


def check_decoder(
  component: toys.Component,
  *,
  obs_space: toys.Spaces | None = None,
  frozen: tuple[str, ...] = (),
  **fields: Any,
) -> None:
  """Checks a decoder; arguments as of `check_encoder`.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(DECODER, component)
  choice = toys.choice(DECODER, component, fields)
  every = {'given': obs_space} if obs_space else toys.observations()
  given = {'feat_space': toys.FEAT_SPACE}
  with promising(name):
    for space, precision in toys.settings(every):

      def build(space=space, precision=precision):
        kw = given | {'obs_space': space, 'precision': precision}
        dtype = precision.compute_dtype
        decoder = toys.build(choice, **kw)
        checks.check_decoder(
          decoder, toys.FEAT_SPACE, space, dtype, choice.path
        )

      abstractly(build)
    space = next(iter(every.values()))
    kw = given | {'obs_space': space, 'precision': toys.FLOAT32}
    live = Live(lambda: toys.build(choice, **kw))
  feat = toys.features(toys.FEAT_SPACE, LEAD, 0, np.float32)
  inputs = {'feat': feat, 'target': toys.values(space, LEAD)}

  def decode(decoder, inputs):
    outputs = decoder(inputs['feat'])
    return {k: x.loss(_target(space[k], inputs, k)) for k, x in outputs.items()}

  if live.params:
    _check_map(name, live, decode, inputs, frozen)


def _target(space: gym_spaces.Space, inputs, key: str):
  target = inputs['target'][key]
  return target.astype(np.float32) / 255 if spaces.is_image(space) else target


HEADS = {
  'number': toys.box(),
  'vector': toys.box(3),
  'matrix': toys.box(2, 3),
  'class': gym_spaces.Discrete(4),
  'classes': gym_spaces.MultiDiscrete([3, 2]),
}


def check_head(
  component: toys.Component,
  *,
  space: gym_spaces.Space | None = None,
  frozen: tuple[str, ...] = (),
  **fields: Any,
) -> None:
  """Checks an output layer, on each kind of space that it does not refuse.

  Args:
    space: The space to try it on.
    component, frozen, fields: As of `check_encoder`.

  Raises:
    Broken: It does not keep a promise, or refuses every space.
  """
  name = toys.title(HEAD, component)
  choice = toys.choice(HEAD, component, fields)
  tried = {'given': space} if space else HEADS
  taken = [s for s in tried.values() if _takes(name, choice, s)]
  promise = 'some kind of space is taken'
  expect(name, taken, promise, f'all of {", ".join(tried)} are refused')
  given = dict(input_size=toys.TOKENS, space=taken[-1])
  live = Live(lambda: toys.build(choice, precision=toys.FLOAT32, **given))
  x = toys.floats((*LEAD, toys.TOKENS), 0)
  # An event that has no probability anywhere would be no test.
  target = {'x': taken[-1]}
  inputs = {'x': x, 'target': toys.values(target, LEAD)['x']}
  loss = lambda head, inputs: {'loss': head(inputs['x']).loss(inputs['target'])}
  _check_map(name, live, loss, inputs, frozen)


def _takes(name: str, choice: Any, space: gym_spaces.Space) -> bool:
  """Tells whether a head takes a space; its promises are checked."""
  given = dict(input_size=toys.TOKENS, space=space)
  try:
    abstractly(lambda: toys.build(choice, precision=toys.FLOAT32, **given))
  except UserError:
    return False
  with promising(name):
    for precision in toys.PRECISIONS:

      def build(precision=precision):
        head = toys.build(choice, precision=precision, **given)
        dtype = precision.compute_dtype
        checks.check_head(head, toys.TOKENS, space, dtype, choice.path)

      abstractly(build)
  return True


def check_policy(
  component: toys.Component,
  *,
  obs_space: toys.Spaces | None = None,
  action_space: toys.Spaces | None = None,
  frozen: tuple[str, ...] = (),
  **fields: Any,
) -> None:
  """Checks a policy, on discrete and continuous actions.

  Args:
    obs_space: With `label/*` and `mask/*`, for one that reads them.
    action_space: Actions to try it on.
    component, frozen, fields: As of `check_encoder`.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(POLICY, component)
  choice = toys.choice(POLICY, component, fields)
  obs_space = obs_space or toys.VECTORS
  every = {'given': action_space} if action_space else toys.ACTIONS
  given = dict(feat_space=toys.FEAT_SPACE, obs_space=obs_space)
  with promising(name):
    for actions, precision in toys.settings(every):

      def build(actions=actions, precision=precision):
        kw = given | {'action_space': actions, 'precision': precision}
        checks.check_policy(
          toys.build(choice, **kw),
          toys.FEAT_SPACE,
          obs_space,
          actions,
          precision.compute_dtype,
          choice.path,
        )

      abstractly(build)
    actions = list(every.values())[-1]
    kw = given | {'action_space': actions, 'precision': toys.FLOAT32}
    live = Live(lambda: toys.build(choice, **kw))
  inputs = _policy_inputs(obs_space, actions)

  def score(policy, inputs):
    joint = _joint(policy, inputs)
    return {'logp': joint.logp(inputs['action']), 'entropy': joint.entropy()}

  _check_map(name, live, score, inputs, frozen)
  _check_draws(name, live, inputs, actions)


def _policy_inputs(obs_space: toys.Spaces, actions: toys.Spaces) -> dict:
  stored = spaces.stored(obs_space)
  told = {k: s for k, s in stored.items() if k not in spaces.encoded(stored)}
  return {
    'feat': toys.features(toys.FEAT_SPACE, LEAD, 0, np.float32),
    'told': toys.values(told, LEAD),
    'action': toys.values(actions, LEAD),
  }


def _joint(policy, inputs):
  told = inputs['told']
  given, mask = spaces.labels(told), spaces.masks(told)
  return policy(inputs['feat'], given=given, mask=mask)


def _check_draws(name: str, live: Live, inputs, actions) -> None:
  def draw(policy, inputs):
    joint = _joint(policy, inputs)
    action = joint.sample(jax.random.key(1))
    check_joint(joint, action, actions, LEAD, 'the policy')
    return {'action': action, 'logp': joint.logp(action)}

  first, again = (named(live.call(draw, inputs)) for _ in range(2))
  expect_equal(name, again, first, 'the same key draws the same action')
  expect_finite(name, first, 'drawn actions and their log-probabilities')
  for key, space in actions.items():
    if spaces.is_discrete(space):
      drawn = first[f"['action']['{key}']"]
      highs = np.reshape(spaces.classes(space), space.shape)
      inside = ((drawn >= 0) & (drawn < highs)).all()
      expect(name, inside, 'actions are drawn from their space', key)
