"""Checks of policies and behaviours."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts, spaces
from dreamer_nnx.checks.model import Seen, each_lead
from dreamer_nnx.checks.outputs import features
from dreamer_nnx.checks.tracing import (
  FLOATS,
  LENGTH,
  ROWS,
  Struct,
  a_key,
  copied,
  expect_alike,
  expect_array,
  expect_dict,
  expect_keys,
  expect_losses,
  expect_metrics,
  expect_rows,
  expect_tuple,
  flags,
  floats,
  inputs,
  refuse,
  traced,
)
from dreamer_nnx.spacetypes import Space

Spaces = Mapping[str, Space]
JOINT = ('sample', 'pred', 'logp', 'entropy')
MODES = ('sample', 'mode')


def masks_of(obs_space: Spaces) -> dict[str, Space]:
  """Spaces of the masks, by action."""
  names = spaces.masked(obs_space)
  return {name: obs_space[spaces.MASK + name] for name in names}


def expect_action(action: Any, space: Spaces, lead, what: str) -> None:
  """Refuses all but values (*lead, ...) of the spaces of actions."""
  expect_keys(action, space, what)
  for key, s in space.items():
    dtype = spaces.data_type(s) if spaces.is_discrete(s) else FLOATS
    expect_array(action[key], (*lead, *s.shape), dtype, f'{what}[{key!r}]')


def check_policy(
  policy: contracts.Policy,
  feat_space: Mapping[str, int],
  obs_space: Spaces,
  action_space: Spaces,
  dtype: Any,
  path: str,
) -> None:
  """Checks the distribution over the actions of (2,) and of (2, 3) features.

  Args:
    obs_space: Of its keys `label/*` and `mask/*`, given and mask are made.
    dtype: The compute format.

  Raises:
    UserError: It breaks its contract.
  """
  labels, masks = spaces.labels(obs_space), masks_of(obs_space)

  def act(lead):
    def trace(feat, given, mask, action):
      joint = copied(policy)(feat, given=given, mask=mask)
      what = f'the distribution of {lead} features'
      check_joint(joint, action, action_space, lead, what)

    feat = features(feat_space, lead, dtype)
    given, action = inputs(labels, lead), inputs(action_space, lead)
    mask = {k: flags(x.shape) for k, x in inputs(masks, lead).items()}
    traced(
      path, f'actions of {lead} features', trace, feat, given, mask, action
    )

  each_lead(act, path)


def check_joint(joint: Any, action: dict, space: Spaces, lead, what) -> None:
  """Checks one distribution over all actions, inside of a trace."""
  lacks = [n for n in JOINT if not callable(getattr(joint, n, None))]
  if lacks:
    refuse(what, f'a Joint with {", ".join(lacks)}', joint)
  expect_action(joint.sample(a_key()), space, lead, f'`sample` of {what}')
  expect_action(joint.pred(), space, lead, f'`pred` of {what}')
  expect_array(joint.logp(action), lead, FLOATS, f'`logp` of {what}')
  entropy = joint.entropy()
  expect_keys(entropy, space, f'`entropy` of {what}')
  for key, x in entropy.items():
    expect_array(x, lead, FLOATS, f'`entropy` of {what}, {key!r}')


def check_behavior(
  behavior: contracts.Behavior,
  world: contracts.World,
  seen: Seen,
  obs_space: Spaces,
  action_space: Spaces,
  path: str,
) -> None:
  """Checks acting in both modes, and the losses.

  Args:
    world: The other modules of the agent.
    seen: Result of `check_dynamics`.
    obs_space: All observations that are stored.

  Raises:
    UserError: It breaks its contract.
  """
  expect_dict(behavior.extra_space, 'extra_space', path)
  for name, s in behavior.extra_space.items():
    if not hasattr(s, 'shape') or not hasattr(s, 'dtype'):
      refuse(f'extra_space[{name!r}]', 'a jax.ShapeDtypeStruct', s, path)
  named = behavior.signals
  if isinstance(named, str) or not all(isinstance(x, str) for x in named):
    refuse('signals', 'a tuple of names', named, path)
  world = dataclasses.replace(world, behavior=behavior)
  initial = lambda: copied(behavior).initial(ROWS)
  memory = traced(path, '`initial`', initial)
  expect_rows(memory, (ROWS,), f'`initial({ROWS})`', path)
  for mode in MODES:
    _check_act(world, seen, memory, obs_space, action_space, mode, path)
  _check_losses(world, seen, obs_space, action_space, path)


def _check_act(world, seen, memory, obs_space, action_space, mode, path):
  what = f'`act` in mode {mode!r}'
  now = lambda x: Struct((x.shape[0], *x.shape[2:]), x.dtype)
  obs = {'is_first': flags((ROWS,))}
  kept = spaces.stored(obs_space)
  told = {k: s for k, s in kept.items() if k not in spaces.encoded(kept)}
  obs |= inputs(told, (ROWS,))

  def trace(carry, feat, memory, obs):
    live = copied_world(world)
    behavior = live.behavior
    result = behavior.act(live, carry, feat, memory, obs, a_key(), mode)
    expect_tuple(result, 'action, memory, extra', what)
    action, new, extra = result
    expect_action(action, action_space, (ROWS,), f'action of {what}')
    expect_alike(new, memory, f'memory of {what}', '`initial`')
    expect_keys(extra, behavior.extra_space, f'extra of {what}')
    for name, s in behavior.extra_space.items():
      shape = (ROWS, *s.shape)
      expect_array(extra[name], shape, s.dtype, f'extra[{name!r}] of {what}')

  feat = jax.tree.map(now, seen.observed.feat)
  traced(path, what, trace, seen.carry, feat, memory, obs)


def _check_losses(world, seen, obs_space, action_space, path):
  def trace(seen, steps):
    replayed = replay_of(world, seen, steps, obs_space, action_space)
    rewards = lambda dream, key: dream.reward
    live = replayed.world.behavior
    result = live.losses(replayed, rewards, a_key(), True)
    expect_tuple(result, 'losses, metrics, signals', '`losses`')
    losses, metrics, signals = result
    expect_losses(losses, (), '`losses`')
    expect_metrics(metrics, '`losses`')
    expect_keys(signals, live.signals, 'signals of `losses`')
    for name, x in signals.items():
      what = f'signal {name!r} of `losses`'
      expect_array(x, (ROWS, LENGTH), FLOATS, what)

  steps = steps_of(obs_space, action_space, world.behavior.extra_space)
  traced(path, '`losses`', trace, parts_of(seen), steps)


def copied_world(world: contracts.World) -> contracts.World:
  """The modules to call inside of a trace."""
  names = [field.name for field in dataclasses.fields(world)]
  parts = {n: copied(getattr(world, n)) for n in names if n != 'objectives'}
  objectives = {name: copied(x) for name, x in world.objectives.items()}
  return contracts.World(**parts, objectives=objectives)


def parts_of(seen: Seen) -> dict[str, Any]:
  """The fields of `seen` that have shapes, as a pytree."""
  fields = [field.name for field in dataclasses.fields(seen)]
  return {name: getattr(seen, name) for name in fields if name != 'losses'}


def steps_of(
  obs_space: Spaces,
  action_space: Spaces,
  extra_space: Mapping[str, Struct],
) -> dict[str, Struct]:
  """Shapes of every key of a replayed batch."""
  lead = (ROWS, LENGTH)
  steps = inputs(spaces.stored(obs_space), lead) | inputs(action_space, lead)
  steps |= {k: flags(lead) for k in ('is_first', 'is_last', 'is_terminal')}
  steps['reward'] = floats(lead)
  for name, s in extra_space.items():
    steps[f'acting/{name}'] = Struct((*lead, *s.shape), s.dtype)
  return steps


def replay_of(
  world: contracts.World,
  seen: Mapping[str, Any],
  steps: dict[str, jax.Array],
  obs_space: Spaces,
  action_space: Spaces,
) -> contracts.Replayed:
  """A replayed batch inside of a trace, of traced arrays.

  Args:
    seen: As of `parts_of`.
  """
  encoded = spaces.encoded(obs_space)
  return contracts.Replayed(
    world=copied_world(world),
    steps=steps | {'is_first': seen['is_first']},
    inputs={key: steps[key] for key in encoded},
    before=seen['action'],
    action={key: jnp.asarray(steps[key]) for key in action_space},
    tokens=seen['tokens'],
    observed=seen['observed'],
    carry=seen['carry'],
  )
