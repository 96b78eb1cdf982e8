"""Names of older versions become those of today."""

import json

import numpy as np
import pytest

from dreamer_nnx import compat
from dreamer_nnx.training.metrics import Episodes

# As version 0.1 saved it: one running episode of three steps, the first
# observation included, and two finished ones of five together.
OLD = {
  'running': {
    'length': [3.0],
    'score': [1.5],
    'changes': [1.0],
    'reward': [0.5],
  },
  'totals': {'score': [4.0, 2], 'length': [5.0, 2], 'reward_rate': [0.5, 2]},
  'count': 2,
}


def test_running_episodes_of_then_go_on():
  episodes = Episodes(1)
  episodes.restore(json.loads(json.dumps(OLD)))
  step = {'reward': [2.0], 'is_first': [False], 'is_last': [True]}
  step = {name: np.asarray(value) for name, value in step.items()}
  finished = episodes.add(step)
  # Its four observations are three actions, two of which changed the reward.
  assert finished == [{'return': 3.5, 'length': 3.0, 'reward_rate': 2 / 3}]
  assert episodes.result() == {
    'episode/return': 7.5 / 3,
    'episode/length': 6 / 3,
    'episode/reward_rate': pytest.approx((0.5 + 2 / 3) / 3),
    'episode/count': 3.0,
  }


def test_running_episodes_of_today_are_left_alone():
  state = Episodes(2).state()
  assert compat.episodes(state) == state


def test_fields_of_then_are_renamed_or_dropped():
  saved = {
    'env': {'name': 'custom', 'custom': {'vectorization': 'sync', 'make': 'a'}},
    'replay': {'chunked': {'keep_indices': 3, 'capacity': 7}},
  }
  before = json.dumps(saved)
  assert compat.config(saved) == {
    'env': {'name': 'custom', 'custom': {'workers': 'sync', 'make': 'a'}},
    'replay': {'chunked': {'capacity': 7}},
  }
  assert json.dumps(saved) == before


@pytest.mark.parametrize('odd', [None, 3, [1], {'custom': 3}])
def test_sections_of_another_form_are_left_to_the_check_of_the_config(odd):
  assert compat.config({'env': odd, 'replay': odd}) == {
    'env': odd,
    'replay': odd,
  }
