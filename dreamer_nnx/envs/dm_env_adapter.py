"""An environment with the interface of dm_env, presented as gymnasium's."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx.envs import dm_env_specs
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.errors import UserError
from dreamer_nnx.notices import warn_once

METHODS = ('reset', 'step', 'observation_spec', 'action_spec')


class FromDmEnv(gymnasium.Env):
  """Presents an environment of dm_env's interface as gymnasium's.

  An episode is terminated if the discount of its last step is 0, and truncated
  if it is above. Discounts between 0 and 1, or 0 before the end, are warned of
  once and not used: the agent has a discount of its own. Arrays without numbers
  are left out; an integer of an action that has bounds is a class.

  Args:
    env: Anything with `reset`, `step`, `observation_spec` and `action_spec`.
    where: Beginning of error messages.
    rename: Makes the name of an observation of its key; by default they are
      the same, but for those that the toolkit keeps for itself.
    reseed: Seeds the environment before an episode; without it a seed that
      `reset` is given has no effect.

  Attributes:
    dm_env: The environment itself.

  Raises:
    UserError: A spec that cannot be read: text, bounds that are none.
    EnvError: An answer of `reset` or `step` breaks the rules of dm_env.
  """

  def __init__(
    self,
    env: Any,
    where: str,
    *,
    rename: Callable[[str], str] = dm_env_specs.plain_name,
    reseed: Callable[[int], None] | None = None,
  ) -> None:
    if missing := [x for x in METHODS if not callable(getattr(env, x, None))]:
      raise UserError(
        f'it made a {type(env).__name__} without {", ".join(missing)}: it must '
        'have the interface of dm_env.Environment.',
        where,
      )
    self.dm_env, self.where, self._reseed = env, where, reseed
    place = f'{where}: observation'
    observed = dm_env_specs.observed(env.observation_spec(), place, rename)
    acted = dm_env_specs.acted(env.action_spec(), f'{where}: action')
    for read, what in ((observed, 'observations'), (acted, 'actions')):
      if read.space is None:
        raise UserError(f'its {what} have no numbers.', where)
    self.observation_space, self._observe = observed
    self.action_space, self._act = acted

  def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
    del options
    if seed is not None and self._reseed:
      self._reseed(seed)
    step = self.dm_env.reset()
    if not _kind(step, 'reset')[0]:
      raise EnvError('reset must return the first step of an episode.')
    return self._observation(step), {}

  def step(self, action: Any) -> tuple:
    step = self.dm_env.step(self._act(action))
    first, last = _kind(step, 'step')
    if first:
      raise EnvError(
        'step returned the first step of an episode, without the last one of '
        'the episode before.'
      )
    over = self._over(step.discount, last)
    # Floats of numpy are checked for longer than those of Python.
    reward = step.reward
    reward = float(reward) if isinstance(reward, float) else reward
    return self._observation(step), reward, over, last and not over, {}

  def render(self) -> Any:
    draw = getattr(self.dm_env, 'render', None)
    if not callable(draw):
      raise EnvError(f'a {type(self.dm_env).__name__} has no render().')
    return draw()

  def close(self) -> None:
    if callable(close := getattr(self.dm_env, 'close', None)):
      close()

  def _observation(self, step):
    try:
      return self._observe(step.observation)
    except (KeyError, IndexError, TypeError) as error:
      raise EnvError(
        'an observation lacks what its spec has '
        f'({type(error).__name__}: {error}).'
      ) from error

  def _over(self, discount, last):
    """Tells whether a step is terminal."""
    if type(discount) is float and discount == 1:
      return False
    number = np.asarray(discount)
    valid = number.size == 1 and number.dtype.kind in 'fiub'
    if not valid or not 0 <= (number := number.item()) <= 1:
      raise EnvError(
        f'a discount must be a number from 0 to 1, it is {discount!r}.'
      )
    if 0 < number < 1 or (number == 0 and not last):
      warn_once(
        f'{self.where}: a step has the discount {number:g}. It is not used: '
        'only a discount of 0 in the last step is, for an episode that is '
        'over; the agent has its own, agent.horizon.',
        f'{self.where}: discount',
      )
    return last and number == 0


def _kind(step: Any, method: str) -> tuple[bool, bool]:
  """Tells whether a step is the first, and the last, of its episode."""
  try:
    return bool(step.first()), bool(step.last())
  except AttributeError as error:
    raise EnvError(
      f'{method} must return a dm_env.TimeStep, it returned a '
      f'{type(step).__name__}.'
    ) from error
