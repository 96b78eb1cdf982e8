"""Checks of what takes part in learning, beside the model and the behaviour."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.checks.acting import parts_of, replay_of, steps_of
from dreamer_nnx.checks.model import Seen
from dreamer_nnx.checks.tracing import (
  FLOATS,
  LENGTH,
  ROWS,
  a_key,
  copied,
  expect_alike,
  expect_array,
  expect_keys,
  expect_losses,
  expect_metrics,
  expect_tuple,
  floats,
  inputs,
  refuse,
  traced,
)
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space

Spaces = Mapping[str, Space]
# A dream of so many rows, and so many steps after its start.
DREAMS, AHEAD = 4, 2


def check_objective(
  objective: contracts.Objective,
  name: str,
  world: contracts.World,
  seen: Seen,
  obs_space: Spaces,
  action_space: Spaces,
  path: str,
) -> tuple[str, ...]:
  """Checks the losses, and the reward and mask of dreams where it has them.

  Args:
    name: Its name in `world.objectives`.
    world: The modules of the agent.
    seen: Result of `check_dynamics`.
    obs_space: All observations that are stored.

  Returns:
    Names of its losses.

  Raises:
    UserError: It breaks its contract.
  """
  if isinstance(objective.scale, bool) or not isinstance(
    objective.scale, int | float
  ):
    refuse('scale', 'a number', objective.scale, path)
  world = dataclasses.replace(
    world, objectives={**world.objectives, name: objective}
  )

  def trace(seen, steps):
    replayed = replay_of(world, seen, steps, obs_space, action_space)
    live = replayed.world.objectives[name]
    result = live.losses(replayed, a_key(), True)
    expect_tuple(result, 'losses, metrics', '`losses`')
    expect_losses(result[0], ((ROWS, LENGTH), ()), '`losses`')
    expect_metrics(result[1], '`losses`')
    if callable(getattr(live, 'reward', None)):
      dream = dream_of(seen, steps, action_space)
      reward = live.reward(replayed.world, dream, a_key())
      shape = (DREAMS, AHEAD + 1)
      expect_array(reward, shape, FLOATS, '`reward` of a dream')
    return result[0]

  extra = getattr(world.behavior, 'extra_space', {})
  steps = steps_of(obs_space, action_space, extra)
  return tuple(traced(path, '`losses`', trace, parts_of(seen), steps))


def dream_of(seen, steps, action_space) -> contracts.Dream:
  """A dream inside of a trace."""
  lead = (DREAMS, AHEAD + 1)
  zeros = lambda x: jnp.zeros((*lead, *x.shape[2:]), x.dtype)
  labels = {k: x for k, x in steps.items() if k.startswith('label/')}
  ones = jnp.ones(lead)
  return contracts.Dream(
    feat=jax.tree.map(zeros, seen['observed'].feat),
    action={key: zeros(steps[key]) for key in action_space},
    reward=ones,
    cont=ones,
    weight=ones,
    given={k: zeros(x)[:, 0] for k, x in labels.items()},
  )


def check_weighting(
  weighting: contracts.Weighting, scales: Mapping[str, float], path: str
) -> None:
  """Checks that every loss is kept, in its shape.

  Args:
    scales: By the names of the model's losses.

  Raises:
    UserError: It breaks its contract, or names a loss that there is not.
  """
  # Losses of both forms that the model may have.
  losses = {
    name: floats((ROWS, LENGTH) if i % 2 == 0 else ())
    for i, name in enumerate(sorted(scales) or ['loss'])
  }
  scales = {name: 1.0 for name in losses} | dict(scales)

  def trace(losses):
    live = copied(weighting)
    scaled = live(dict(losses), scales)
    expect_keys(scaled, losses, 'scaled losses')
    for name, x in losses.items():
      expect_array(scaled[name], x.shape, FLOATS, f'the scaled loss {name!r}')
    if callable(getattr(live, 'metrics', None)):
      expect_metrics(live.metrics(scales), 'the weighting')

  traced(path, 'scaled losses', trace, losses)


def check_augmentation(
  augmentation: contracts.Augmentation, obs_space: Spaces, path: str
) -> None:
  """Checks that (2, 3) observations keep their keys, shapes and formats.

  Args:
    obs_space: The keys that are encoded.

  Raises:
    UserError: It breaks its contract.
  """
  given = inputs(obs_space, (ROWS, LENGTH))

  def trace(obs):
    new = copied(augmentation)(dict(obs), a_key())
    expect_keys(new, given, 'augmented observations')
    for key, x in given.items():
      what = f'the augmented observation {key!r}'
      expect_array(new[key], x.shape, x.dtype, what)

  traced(path, 'augmented observations', trace, given)


def check_normalizer(normalizer: contracts.Normalizer, path: str) -> None:
  """Checks that offset and scale are single numbers, after an update too.

  Raises:
    UserError: It breaks its contract.
  """

  def trace(x):
    live = copied(normalizer)
    for _ in range(2):
      stats = live.stats()
      expect_tuple(stats, 'offset, scale', '`stats`')
      for value, name in zip(stats, ('offset', 'scale'), strict=True):
        expect_array(value, (), FLOATS, f'{name} of `stats`')
      live.update(x)

  traced(path, '`stats`', trace, floats((ROWS, LENGTH)))


def check_optimizer(
  optimizer: contracts.Optimizer, params: Mapping[str, Any], path: str
) -> None:
  """Checks that updates are like the parameters, and the state keeps its form.

  Args:
    params: Shapes and formats by name; a few stand for all if empty.

  Raises:
    UserError: It breaks its contract.
  """
  params = dict(params) or {
    'layer/bias': floats((3,)),
    'layer/kernel': floats((2, 3)),
  }

  def trace(params):
    state = optimizer.init(params)
    result = optimizer.update(params, state, params)
    expect_tuple(result, 'updates, state', '`update`')
    updates, new = result
    expect_alike(updates, params, 'updates of `update`', 'the parameters')
    expect_alike(new, state, 'state of `update`', '`init`')

  traced(path, '`update`', trace, params)


def check_trained_names(
  optimizer: contracts.Optimizer, names: Collection[str], path: str
) -> None:
  """Asks an optimiser that has `check_names` whether it fits the parameters.

  Args:
    names: Names of all that is trained.

  Raises:
    UserError: It does not.
  """
  try:
    getattr(optimizer, 'check_names', lambda names: None)(names)
  except UserError as error:
    error.within(path)
    raise
