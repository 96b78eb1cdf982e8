"""The drawing of an environment of which the agent sees numbers alone."""

from collections.abc import Collection, Mapping

import numpy as np

from dreamer_nnx import contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import IMAGE

Arrays = Mapping[str, np.ndarray]


class Twin:
  """An environment made like the first of an evaluation, which draws itself.

  It takes the same actions, so that nothing about the other one changes. Where
  both come to see different things, it is of no use.

  Args:
    envs: One environment, with the observation `image`.
    keys: Observations that both have.
  """

  def __init__(self, envs: contracts.VectorEnv, keys: Collection[str]):
    self._envs, self._keys = envs, keys

  def follow(self, obs: Arrays, action: Arrays | None) -> np.ndarray:
    """Goes on to the step that the other one is at, and draws it.

    Args:
      obs: Observations (1, ...) of that step.
      action: The action (1, ...) that led to it; None at the beginning.

    Raises:
      UserError: It sees something else.
      EnvError: It failed.
    """
    own = self._envs.reset() if action is None else self._envs.step(action)
    for key in self._keys:
      if not np.array_equal(own[key], obs[key]):
        raise UserError(
          'another one, made from the same seed, came to observe something '
          f'else ({key!r}) by the same actions. Set config.env.*.render to '
          'see the environment itself.'
        )
    return own[IMAGE][0]

  def close(self) -> None:
    self._envs.close()
