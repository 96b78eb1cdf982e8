"""Checks of behaviours, objectives, weightings and augmentations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import checks, spaces
from dreamer_nnx.registry import Choices
from dreamer_nnx.slots import AUGMENTATION, BEHAVIOR, OBJECTIVE, WEIGHTING
from dreamer_nnx.testing import agents, toys
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
  slopes,
)

ROWS = toys.ROWS
LEAD = (toys.ROWS, toys.LENGTH)


def check_behavior(
  component: toys.Component,
  *,
  obs_space: toys.Spaces | None = None,
  action_space: toys.Spaces | None = None,
  frozen: tuple[str, ...] = (),
  **fields: Any,
) -> None:
  """Checks a behaviour, in an agent of small built-in components.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.
    obs_space: Observations, with `label/*` for one that reads them.
    action_space: Actions to try it on; several toy ones without.
    frozen: Regular expressions of parameters that are not to have gradients.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(BEHAVIOR, component)
  choice = toys.choice(BEHAVIOR, component, fields)
  obs_space = obs_space or toys.VECTORS
  every = {'given': action_space} if action_space else toys.ACTIONS
  with promising(name):
    for actions in every.values():

      def build(actions=actions):
        agent = agents.make_agent(obs_space, actions, behavior=choice)
        seen = agents.seen_of(agent, toys.FLOAT32.compute_dtype)
        args = agent.obs_space, actions, choice.path
        checks.check_behavior(agent.behavior, agent.world, seen, *args)

      abstractly(build)
    actions = list(every.values())[-1]
    make = lambda: agents.make_agent(obs_space, actions, behavior=choice)
    live = Live(make, 'behavior/')
  _check_part(name, live, 'behavior/', agents.loss_of, frozen)
  _check_acting(name, live)


def _check_part(name, live: Live, prefix: str, loss, frozen) -> None:
  """Checks the parameters of one component of an agent."""
  live.params = tuple(n for n in live.params if n.startswith(prefix))
  check_axes(name, live)
  batch = agents.batch_of(live.abstract)
  gradients, result = live.gradients(loss, batch)
  expect_finite(name, named(result), 'losses and metrics')
  check_gradients(name, gradients, frozen)


def _check_acting(name: str, live: Live) -> None:
  obs = toys.values(spaces.stored(live.abstract.obs_space), (ROWS,))

  def act(agent, obs, seed, is_first, mode):
    """Acts from a used carry."""
    key = jax.random.key(seed)
    obs = obs | {'is_first': jnp.full((ROWS,), is_first)}
    used = jax.tree.map(lambda x: x + jnp.ones_like(x), agent.initial(ROWS))
    carry, action, kept = agent.act(used, obs, key, mode)
    return {'carry': carry, 'action': action, 'kept': kept}

  def acts(agent, obs):
    fresh = lambda x: x | {'is_first': jnp.ones((ROWS,), bool)}
    key = jax.random.key(0)
    reset = agent.act(agent.initial(ROWS), fresh(obs), key, 'sample')
    return {
      'sample': act(agent, obs, 0, True, 'sample'),
      'reset': {'action': reset[1], 'kept': reset[2]},
      'mode': act(agent, obs, 0, False, 'mode')['action'],
    }

  first, again = (live.call(acts, obs) for _ in range(2))
  promise = 'the same key draws the same action'
  expect_equal(name, named(again), named(first), promise)
  expect_finite(name, named(first['mode']), 'actions')
  sample = {k: first['sample'][k] for k in ('action', 'kept')}
  promise = 'the memory before `is_first` changes nothing'
  expect_close(name, named(sample), named(first['reset']), promise)


def check_objective(
  component: toys.Component,
  *,
  obs_space: toys.Spaces | None = None,
  action_space: toys.Spaces | None = None,
  frozen: tuple[str, ...] = (),
  **fields: Any,
) -> None:
  """Checks an objective, in an agent of small built-in components.

  Args:
    component, obs_space, action_space, frozen, fields: As of `check_behavior`.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(OBJECTIVE, component)
  choice = toys.choice(OBJECTIVE, component, fields)
  obs_space = obs_space or toys.VECTORS
  every = {'given': action_space} if action_space else toys.ACTIONS

  def make(actions, *choices):
    objectives = Choices(OBJECTIVE, choices)
    return agents.make_agent(obs_space, actions, objectives=objectives)

  with promising(name):
    for actions in every.values():
      build = lambda actions=actions: make(actions, choice)
      abstractly(lambda build=build: _trace(name, build(), choice.path))
    actions = list(every.values())[-1]
    prefix = f'objectives/{choice.branch}/'
    live = Live(lambda: make(actions, choice), prefix)
  _check_part(name, live, prefix, _own_losses, frozen)
  if toys.takes(choice, 'scale'):
    none = choice.replace(scale=0.0)
    agents.expect_left_out(
      name, lambda: make(actions, none), lambda: make(actions)
    )


def _trace(name: str, agent: Any, path: str) -> None:
  """Checks the one objective of an agent."""
  promise = 'its default scale is not 0, or it would be left out'
  expect(name, agent.objectives, promise)
  seen = agents.seen_of(agent, toys.FLOAT32.compute_dtype)
  ((key, objective),) = agent.objectives.items()
  around = agent.world, seen, agent.obs_space, agent.action_space
  checks.check_objective(objective, key, *around, path)


def _own_losses(agent: Any, batch: dict) -> tuple[jax.Array, dict]:
  """The losses of the one objective alone, and their sum."""
  replayed = agents.replayed_of(agent, batch)
  (objective,) = agent.objectives.values()
  losses, metrics = objective.losses(replayed, jax.random.key(1), True)
  total = sum(x.mean() for x in losses.values())
  return total, {'losses': losses, 'metrics': metrics}


def check_weighting(
  component: toys.Component, *, frozen: tuple[str, ...] = (), **fields: Any
) -> None:
  """Checks a weighting of losses.

  Args:
    component, frozen, fields: As of `check_behavior`.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(WEIGHTING, component)
  choice = toys.choice(WEIGHTING, component, fields)
  scales = {'dyn': 1.0, 'position': 1.0, 'rep': 0.1, 'rew': 1.0, 'unused': 0.0}
  build = lambda: toys.build(choice, obs_space=toys.VECTORS)
  with promising(name):
    abstractly(lambda: checks.check_weighting(build(), scales, choice.path))
    live = Live(build)
  check_axes(name, live)
  losses = {key: 1 + toys.floats(LEAD, i) ** 2 for i, key in enumerate(scales)}

  def total(weighting, losses):
    scaled = weighting(dict(losses), scales)
    return sum(x.mean() for x in scaled.values()), scaled

  def slope_of(weighting, losses):
    return slopes(lambda losses: total(weighting, losses)[0], losses)[0]

  gradients, result = live.gradients(total, losses)
  expect_finite(name, named(result), 'scaled losses')
  check_gradients(name, gradients, frozen)
  slope = live.call(slope_of, losses)
  promise = 'a loss of scale 0 counts for nothing'
  expect(name, not np.any(slope['unused']), promise)
  promise = 'more of a loss makes the total larger'
  for key in scales.keys() - {'unused'}:
    expect(name, np.all(slope[key] > 0), promise, f'not of {key!r}')
  check_round_trip(name, live, total, losses)


def check_augmentation(
  component: toys.Component,
  *,
  obs_space: toys.Spaces | None = None,
  **fields: Any,
) -> None:
  """Checks an augmentation.

  Args:
    component, obs_space, fields: As of `check_behavior`.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(AUGMENTATION, component)
  choice = toys.choice(AUGMENTATION, component, fields)
  every = {'given': obs_space} if obs_space else toys.observations()
  with promising(name):
    for space in every.values():

      def build(space=space):
        augmentation = toys.build(choice, obs_space=space)
        checks.check_augmentation(augmentation, space, choice.path)

      abstractly(build)
  space = next(iter(every.values()))
  live = Live(lambda: toys.build(choice, obs_space=space))
  obs = toys.values(space, LEAD)

  def augment(augmentation, obs):
    given = dict(obs)
    new = augmentation(given, jax.random.key(0))
    promise = 'the observations that it is given stay, for losses read them'
    same = all(given.get(k) is x for k, x in obs.items())
    expect(name, same and len(given) == len(obs), promise)
    return new

  first, again = (live.call(augment, obs) for _ in range(2))
  expect_equal(name, again, first, 'the same key draws the same')
  expect_finite(name, first, 'augmented observations')
  _check_classes(name, space, first)
  if toys.takes(choice, 'scale'):
    actions = toys.ACTIONS['both']
    make = lambda *choices: agents.make_agent(
      space, actions, augmentations=Choices(AUGMENTATION, choices)
    )
    none = choice.replace(scale=0.0)
    agents.expect_left_out(name, lambda: make(none), make)


def _check_classes(name: str, space: toys.Spaces, values: dict) -> None:
  for key, s in space.items():
    if spaces.is_discrete(s):
      highs = np.reshape(spaces.classes(s), s.shape)
      x = np.asarray(values[key])
      inside = ((x >= -1) & (x < highs)).all()
      expect(name, inside, 'classes stay in their space', key)
