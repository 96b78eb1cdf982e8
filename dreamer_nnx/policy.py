"""A trained policy, to act with wherever there are observations.

It needs a checkpoint alone: no environment, no replay, no optimiser.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from dreamer_nnx import paths, spaces, streams
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Interface, Lead
from dreamer_nnx.schema import suggest
from dreamer_nnx.streams import Stream
from dreamer_nnx.trained import Trained
from dreamer_nnx.training.layout import State

# Names of the modes here, and those of `Agent.act`.
MODES = {'greedy': 'mode', 'sample': 'sample'}


@dataclasses.dataclass(frozen=True)
class PolicyState:
  """Memory of a policy, of the episodes that it acts in.

  Args:
    carry: Arrays of the agent, (W, ...).
    count: Steps so far.
    lead: () of one episode, (W,) of several.
  """

  carry: Any = dataclasses.field(repr=False)
  count: int
  lead: Lead


class Policy:
  """Acts by a trained agent.

    action, state = policy(obs, state)

  The first call that has a new number of episodes compiles.

  Attributes:
    obs_space, action_space: Spaces of the environment itself.
  """

  def __init__(self, trained: Trained, seed: int = 0):
    self.trained = trained
    self._interface: Interface = trained.interface
    self.obs_space = self._interface.observation
    self.action_space = self._interface.action
    self._arrays: State = trained.arrays(trained.layout.acting)
    self._key = streams.key(seed, Stream.POLICY)

    self._act = trained.compiled(_act, 'mode')
    self._initial = trained.compiled(_initial, 'rows')

  def __call__(
    self,
    obs: Any,
    state: PolicyState | None = None,
    mode: str = 'greedy',
    is_first: Any = None,
  ) -> tuple[Any, PolicyState]:
    """Acts once, in one episode or in W of them at once.

    Args:
      obs: What the environment observes, as its space is nested or a dict by
        flat key; of several episodes each array has an axis (W,) in front.
        What acting does not read, such as `label/*` of losses, may be left
        out.
      state: Result of the step before; None begins new episodes.
      mode: `greedy` takes the most likely action, `sample` draws one.
      is_first: (W,) bool; begins these episodes anew, and goes on with others.

    Returns:
      The action in the units of the environment, with the axis (W,) if the
      observation has it; and the state for the next step.

    Raises:
      UserError: The observation is not of the environment's space, or not of
        as many episodes as the state; or there is no such mode.
    """
    arrays, lead = self._interface.observed(obs, self.trained.unread)
    rows = self._rows(lead, state, mode)
    if state is None:
      state = PolicyState(self._initial({}, rows=rows), 0, lead)
      first = np.ones(rows, bool)
    else:
      first = np.zeros(rows, bool)
    if is_first is not None:
      first |= np.broadcast_to(np.asarray(is_first, bool), rows)
    inputs = arrays if lead else {k: x[None] for k, x in arrays.items()}
    carry, action = self._act(
      self._arrays,
      state.carry,
      inputs | {'is_first': first},
      self._key,
      state.count,
      mode=MODES[mode],
    )
    taken = {k: np.asarray(x) for k, x in action.items()}
    if not lead:
      taken = {k: x[0] for k, x in taken.items()}
    native = self._interface.native_action(taken)
    return native, PolicyState(carry, state.count + 1, lead)

  def _rows(self, lead: Lead, state: PolicyState | None, mode: str) -> int:
    check_mode(mode)
    if len(lead) > 1:
      raise UserError(
        f'has the leading axes {lead}; a step has none, or one of episodes.',
        'obs',
      )
    if state is not None and state.lead != lead:
      raise UserError(
        f'has the leading axes {lead}, the state {state.lead}. Begin new '
        'episodes by state=None.',
        'obs',
      )
    return lead[0] if lead else 1

  def __repr__(self) -> str:
    keys = ', '.join(spaces.stored(self._interface.obs_space))
    return f'Policy({self.trained}; observes {keys})'


def _act(agent: Agent, carry, obs, key, count, mode):
  """Acts by the draws of one step."""
  key = jax.random.fold_in(key, count)
  carry, action, _ = agent.act(carry, obs, key, mode)
  return carry, action


def _initial(agent: Agent, rows):
  return agent.initial(rows)


def check_mode(mode: str) -> None:
  """Refuses a mode that there is not."""
  if mode not in MODES:
    known = ' or '.join(map(repr, MODES))
    raise UserError(f'must be {known}.{suggest(mode, MODES)}', 'mode', mode)


def load_policy(
  source: str | paths.Path,
  trust_config: bool = False,
  *,
  step: int | None = None,
  seed: int = 0,
) -> Policy:
  """Loads the policy of a run.

  Args:
    source: A workdir, its folder of checkpoints, or one step in that; may be
      in a bucket.
    trust_config: Whether the config in it may import code that is not of this
      package.
    step: Which step, where the source does not say; by default the latest.
    seed: Of the actions that are drawn.

  Raises:
    UserError: There is no such checkpoint, it is damaged, or its config names
      code and is not trusted.
  """
  return Policy(Trained(source, step=step, trust_config=trust_config), seed)
