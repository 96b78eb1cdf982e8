"""`--mode=check`: whether a run would begin, before anything is compiled."""

from collections.abc import Callable

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import env_check, workflow
from dreamer_nnx.envs.rules import ERROR, Finding
from dreamer_nnx.envs.trial import SHORT_STEPS
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import sharding


def report(config: ConfigDict, write: Callable[[str], None]) -> int:
  """Tries the environments for a few steps and builds the agent, abstractly.

  Returns:
    The exit status: 2 if training would fail, else 0.

  Raises:
    UserError: The environments cannot be made as the config asks.
  """
  parts = configs.bind_all(config)
  trial = env_check.tried(parts, SHORT_STEPS)
  if trial.obs_space:
    try:
      write(_agent(parts, trial))
    except UserError as error:
      trial.add(Finding(ERROR, 'agent', f'no agent can be built: {error}'))
  for finding in trial.findings:
    write(str(finding))
  write('Training would fail.' if trial.errors else 'Training can begin.')
  return env_check.STATUS if trial.errors else 0


def _agent(parts: configs.Bound, trial: env_check.Trial) -> str:
  """Builds the agent without its arrays; how large it is, in words."""
  mesh = sharding.planned(parts['mesh']())
  spaces = trial.obs_space, trial.action_space
  layout = workflow.make_learner(parts, *spaces, mesh).layout
  count = sum(layout.shapes[name].size for name in layout.trained)
  return (
    f'{parts["env"].name}: {", ".join(sorted(trial.obs_space))} -> '
    f'{", ".join(sorted(trial.action_space))}; {count:,} trained parameters.'
  )
