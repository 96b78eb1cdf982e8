"""The runs: which components, with what beside the demo's settings."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx import overrides
from dreamer_nnx.slots import SLOTS
from dreamer_nnx.testing.new import PATHS

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs' / 'demo.py'
RUNS = ROOT / 'runs' / 'components'
DEMONSTRATIONS = 'runs/components/demonstrations'

# A quarter of the demo's steps, with its schedule in a quarter of the updates.
LENGTH = {
  'train.steps': 2_000,
  'train.log_every': 250,
  'train.report_every': 0,
  'train.save_every': 500,
  'optimizer.*.schedule': 'linear',
  'optimizer.*.warmup': 25,
  'optimizer.*.anneal': 500,
  'checkpoint.keep_last': 1,
  'evaluate.episodes': 50,
  'evaluate.envs': 25,
  'evaluate.sampled': False,
}
# The size of other components is near that of the demo's.
SIZES = {
  'dynamics.rssm.stochastic.gaussian.stoch': 32,
  'dynamics.rssm.stochastic.fsq.stoch': 32,
  'dynamics.gru.deter': 256,
  'dynamics.gru.hidden': 128,
  'dynamics.ssm.deter': 256,
  'dynamics.ssm.state': 128,
  'dynamics.ssm.hidden': 128,
  'dynamics.transformer.deter': 128,
  'dynamics.transformer.heads': 4,
  'dynamics.transformer.window': 16,
  'dynamics.transformer.hidden': 128,
  'dynamics.*.stochastic.categorical.stoch': 16,
  'dynamics.*.stochastic.categorical.classes': 16,
}
CUSTOM = {'env.name': 'custom'}
CHAIN = CUSTOM | {'env.custom.make': 'experiments.variants.games:Chain'}
POINT = CUSTOM | {'env.custom.make': 'experiments.components.games:Point'}
POLICY = 'behavior.actor_critic.policy'
# Patterns of a game; its own run has them, and nothing else.
GAMES: dict[str, dict[str, Any]] = {
  'track': {},
  'demonstrations': {
    'plugins': ('experiments.variants.cloning',),
    'env.name': 'labelled',
    'replay.name': 'mixture',
    'replay.mixture.share': 0.25,
    'replay.mixture.data.dataset.path': DEMONSTRATIONS,
    'replay.mixture.live.chunked.capacity': 100_000,
  },
  'chain': CHAIN,
  'point': POINT,
  'onehot': POINT | {'env.custom.arguments': ('onehot=True',)},
}


@dataclasses.dataclass(frozen=True)
class Entry:
  """One run.

  Args:
    slot, component: What it shows; both are empty for the run of a game as it
      is, the default that others are compared with.
    game: A key of GAMES.
    patterns: Fields that it sets beside the name of its component.
    at: Fields that name the component, if not the usual one of its slot.
  """

  slot: str = ''
  component: str = ''
  game: str = 'track'
  patterns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  at: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    """The name of the run, its workdir and its result."""
    return f'{self.slot or "default"}.{self.component or self.game}'

  @property
  def chosen(self) -> dict[str, Any]:
    """The fields that name the component."""
    fields = self.at or ((PATHS[self.slot],) if self.slot else ())
    many = lambda field: field.endswith('.names')
    name = self.component
    return {field: (name,) if many(field) else name for field in fields}


NUMBERS = ('reward.head', 'behavior.actor_critic.value.head')
CONTINUOUS = functools.partial(
  Entry, 'head', at=(f'{POLICY}.mlp.continuous.name',)
)
NO_DECODER = {'decoder.name': 'none'}
COSTS = {'env.custom.arguments': ('cost=True',)}
MASKS = {'env.custom.arguments': ('mask=True',)}
MASKED = MASKS | {f'{POLICY}.name': 'masked'}
# The usual learning rate of the demo; of signs, a tenth.
RATE, SIGNS = 1e-3, 1e-4


def number(head: str) -> Entry:
  """The run of a head that predicts rewards and values, 0 at first."""
  zero = {f'{place}.{head}.outscale': 0.0 for place in NUMBERS}
  at = tuple(f'{place}.name' for place in NUMBERS)
  return Entry('head', head, patterns=zero, at=at)


ENTRIES = (
  *(Entry(game=game) for game in GAMES),
  Entry(
    'encoder',
    'resnet',
    patterns={'encoder.resnet.depth': 8, 'encoder.resnet.mults': (2, 3)},
  ),
  Entry(
    'encoder',
    'vit',
    patterns={'encoder.vit.patch': 4, 'encoder.vit.heads': 4},
  ),
  Entry('encoder', 'mlp'),
  Entry(
    'decoder',
    'resnet',
    patterns={'decoder.resnet.depth': 8, 'decoder.resnet.mults': (2, 3)},
  ),
  Entry('dynamics', 'gru'),
  Entry('dynamics', 'ssm'),
  Entry('dynamics', 'transformer'),
  Entry('stochastic', 'gaussian'),
  Entry('stochastic', 'fsq'),
  Entry(
    'behavior',
    'constrained',
    game='chain',
    patterns=COSTS | {'behavior.constrained.limit': 2.0},
  ),
  Entry('behavior', 'cem'),
  Entry('policy', 'masked', game='chain', patterns=MASKS),
  Entry('objective', 'masks', game='chain', patterns=MASKED),
  Entry('objective', 'barlow', patterns=NO_DECODER),
  Entry('objective', 'infonce', patterns=NO_DECODER),
  Entry(
    'objective',
    'dreamerpro',
    patterns=NO_DECODER | {'objectives.dreamerpro.prototypes': 256},
  ),
  Entry('objective', 'cloning', game='demonstrations'),
  Entry(
    'objective', 'disagreement', patterns={'objectives.disagreement.scale': 0.1}
  ),
  Entry('objective', 'rnd', patterns={'objectives.rnd.scale': 0.1}),
  Entry('weighting', 'harmony'),
  Entry(
    'augmentation',
    'random_shift',
    patterns={'augmentations.random_shift.pad': 1},
  ),
  Entry('augmentation', 'crop'),
  Entry('selector', 'priority'),
  Entry('selector', 'recency'),
  Entry('selector', 'curious'),
  Entry('optimizer', 'adamw', patterns={'optimizer.adamw.lr': RATE}),
  Entry('optimizer', 'lion', patterns={'optimizer.lion.lr': SIGNS}),
  Entry('optimizer', 'muon', patterns={'optimizer.muon.lr': RATE}),
  number('mse'),
  number('symlog_mse'),
  number('huber'),
  number('hl_gauss'),
  number('symlog_twohot'),
  CONTINUOUS('normal_logstd', game='point'),
  CONTINUOUS('onehot', game='onehot'),
  Entry('normalizer', 'none'),
  Entry('normalizer', 'meanstd'),
)
# Components that are in the run of another entry, most of them in a default.
WITHIN = {
  ('encoder', 'simple'): 'default.track',
  ('decoder', 'simple'): 'default.track',
  ('decoder', 'none'): 'objective.barlow',
  ('dynamics', 'rssm'): 'default.track',
  ('stochastic', 'categorical'): 'default.track',
  ('behavior', 'actor_critic'): 'default.track',
  ('policy', 'mlp'): 'default.track',
  ('weighting', 'fixed'): 'default.track',
  ('selector', 'uniform'): 'default.track',
  ('optimizer', 'dreamer'): 'default.track',
  ('head', 'symexp_twohot'): 'default.track',
  ('head', 'binary'): 'default.track',
  ('head', 'categorical'): 'default.track',
  ('head', 'bounded_normal'): 'default.point',
  ('normalizer', 'perc'): 'default.track',
}
# Registered components without an entry, and why.
WITHOUT: dict[tuple[str, str], str] = {}
# Entries without a result, and why.
UNTRAINED: dict[str, str] = {}


def named(name: str) -> Entry:
  """Finds an entry.

  Raises:
    KeyError: No run has this name.
  """
  return {entry.name: entry for entry in ENTRIES}[name]


def runs() -> dict[tuple[str, str], str]:
  """Slot and component to the name of the run that has it."""
  own = {(e.slot, e.component): e.name for e in ENTRIES if e.slot}
  return WITHIN | own


def absent(entry: Entry) -> list[str]:
  """Names what an entry needs that is not registered."""
  slots = {slot.name: slot for slot in SLOTS}
  wanted = [(entry.slot, entry.component)] if entry.slot else []
  wanted += [
    ('objective', name) for name in entry.patterns.get('objectives.names', ())
  ]
  return [f'{s} {n}' for s, n in wanted if n not in slots[s].names()]


def config(name: str) -> configs.ConfigDict:
  """The config of a run."""
  entry, result = named(name), overrides.load_file(str(DEMO))
  game = GAMES[entry.game]
  patterns = SIZES | LENGTH | game | dict(entry.patterns) | entry.chosen
  configs.apply(result, patterns, where=f'run {name}')
  return result
