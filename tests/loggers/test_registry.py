import pytest

from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.slots import LOGGER


def test_built_ins_are_registered():
  assert LOGGER.names() == ('jsonl', 'tensorboard', 'terminal', 'wandb')


def test_loggers_are_built_by_name_and_close_twice(tmp_path):
  loggers = Choices(LOGGER, ('jsonl', 'tensorboard', 'terminal'))
  for logger in loggers(workdir=tmp_path):
    logger.write(3, {'other': 1.5})
    logger.close()
    logger.close()


def test_error_of_a_field_starts_with_its_config_path(tmp_path):
  choice = Choice(LOGGER, 'terminal', pattern='[')
  with pytest.raises(
    ValueError, match=r'^config\.logger\.terminal\.pattern = '
  ):
    choice(workdir=tmp_path)
