"""Options that make no sense are refused by path when a config is resolved."""

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx.errors import UserError
from dreamer_nnx.training.evaluate import METRICS

REFUSED = {
  'train.steps': 0,
  'train.envs': 0,
  'train.batch_size': -1,
  'train.batch_length': 0,
  'train.train_ratio': -1.0,
  'train.log_every': -1,
  'train.report_every': -1,
  'train.save_every': -1,
  'train.on_divergence': 'go on',
  'train.max_rewinds': -1,
  'evaluate.episodes': 0,
  'evaluate.envs': 0,
  'evaluate.every': -1,
  'evaluate.stop_at': float('nan'),
  'checkpoint.keep_last': 0,
  'checkpoint.keep_every': -1,
  'checkpoint.patience': -1.0,
  'checkpoint.best_metric': 'eval/score',
  'mesh.data': 0,
  'mesh.fsdp': -2,
  'mesh.tensor': 0,
  'mesh.rules': ('inputs:rows',),
}
KEPT = {
  'train.train_ratio': 0.0,
  'train.log_every': 0,
  'train.max_rewinds': 0,
  'evaluate.every': 0,
  'evaluate.stop_at': float('inf'),
  'checkpoint.keep_every': 0,
  'checkpoint.patience': 0.0,
  'checkpoint.best_metric': METRICS[1],
  'mesh.rules': (),
}


def resolved(path, value):
  config = configs.base()
  configs.apply(config, {path: value})
  return configs.leaves(configs.resolve(config))[path]


@pytest.mark.parametrize('path', REFUSED)
def test_values_out_of_range_are_refused_by_path(path):
  with pytest.raises(UserError) as error:
    resolved(path, REFUSED[path])
  assert str(error.value).startswith(f'config.{path} = {REFUSED[path]!r}: must')


@pytest.mark.parametrize('path', KEPT)
def test_values_at_the_ends_of_a_range_are_kept(path):
  assert resolved(path, KEPT[path]) == KEPT[path]


def test_the_metric_that_ranks_is_one_of_evaluations():
  with pytest.raises(UserError, match="must be one of 'eval/"):
    resolved('checkpoint.best_metric', 'eval/score')
