"""An environment with the spaces of the fixture `proprio_continuous`."""

import pathlib
import pickle

import gymnasium
import numpy as np

from tests import parity

FIXTURE = pathlib.Path(__file__).parent / 'fixtures' / 'proprio_continuous.json'
# Its sizes, over those of a tiny run.
SIZES = {
  'env__name': 'custom',
  'env__custom__make': 'tests.proprio:Proprio',
  'dynamics__rssm__deter': 32,
  'dynamics__rssm__hidden': 16,
  'dynamics__rssm__stochastic__categorical__stoch': 4,
  'dynamics__rssm__stochastic__categorical__classes': 5,
  'dynamics__rssm__blocks': 4,
  'dynamics__rssm__imglayers': 2,
  'encoder__simple__units': 24,
  'decoder__simple__units': 24,
  'reward__units': 24,
  'reward__head__symexp_twohot__bins': 41,
  'cont__units': 24,
  'behavior__actor_critic__policy__mlp__layers': 3,
  'behavior__actor_critic__policy__mlp__units': 24,
  'behavior__actor_critic__value__layers': 3,
  'behavior__actor_critic__value__units': 24,
  'behavior__actor_critic__value__head__symexp_twohot__bins': 41,
}


class Proprio(gymnasium.Env):
  """Draws observations; episodes are of eight steps."""

  def __init__(self):
    box = lambda shape: gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
    self.observation_space = gymnasium.spaces.Dict(
      {
        'position': box((7,)),
        'height': box(()),
        'goal': gymnasium.spaces.Discrete(4),
      }
    )
    self.action_space = box((3,))

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.steps = 0
    return self._draw(), {}

  def step(self, action):
    self.steps += 1
    return self._draw(), 1.0, False, self.steps == 8, {}

  def _draw(self):
    return {
      'position': self.np_random.normal(size=7).astype(np.float32),
      'height': np.float32(self.np_random.normal()),
      'goal': int(self.np_random.integers(4)),
    }


def write_reference(folder: pathlib.Path) -> pathlib.Path:
  """The fixture's parameters, as a run of the reference keeps them."""
  step = folder / 'ckpt' / '20250101T000000F000000'
  step.mkdir(parents=True)
  (folder / 'ckpt' / 'latest').write_text(step.name)
  (step / 'done').touch()
  params = parity.Fixture(FIXTURE).under('final')
  (step / 'agent.pkl').write_bytes(pickle.dumps({'params': dict(params)}))
  return folder
