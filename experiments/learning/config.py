"""The config of a run by its name: config.py:track, config.py:sweep.base."""

from dreamer_nnx import config as configs
from experiments.learning import sweep
from experiments.learning.tasks import QUIET, TASKS

PLUGINS = ('experiments.learning.events',)


def get_config(name: str) -> configs.ConfigDict:
  """The config of the agent here.

  Args:
    name: A task of `tasks.TASKS`, or a setting of `sweep.SETTINGS` as in
      'sweep.NAME'.
  """
  kind, _, setting = name.partition('.')
  task = TASKS['cartpole' if kind == 'sweep' else kind]
  config = configs.base(plugins=PLUGINS)
  patterns = task.named(0) | dict(task.env) | QUIET
  if kind == 'sweep':
    patterns |= sweep.EVALUATED | sweep.SETTINGS[setting]
  configs.apply(config, patterns, where=name)
  return config
