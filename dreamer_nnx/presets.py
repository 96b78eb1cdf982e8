"""Named presets: published versions of the algorithm as differences of config.

config = presets.make('paper_v1')

`python -m dreamer_nnx.presets` prints `docs/presets.md`, the table of their
differences, and what of the originals they do not have.
"""

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx.schema import pick

# Pixels of the game of a config that names no environment, so that its images
# can be halved four times.
PIXELS = {'env.track.size': 64}


@dataclasses.dataclass(frozen=True)
class Preset:
  """A version of the algorithm, as its difference from the default config.

  Args:
    source: Where its numbers are from.
    lacks: What the original has and this does not.
    size: Name of the size that is applied first; '' for none.
    patterns: Config paths to values, applied after it.
  """

  source: str
  lacks: tuple[str, ...]
  size: str = ''
  patterns: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# The signatures' own defaults.
NATURE = Preset(
  source='Hafner et al. 2025, *Mastering diverse control tasks through world '
  'models*, Nature 640 (arXiv 2301.04104v2), as its code computes it. It is '
  'the default config.',
  lacks=(
    'Numbers by benchmark: steps, environments and `train.train_ratio` are '
    'set for each task.',
    'The size of each benchmark: the default is that of 50m.',
    'The table of the paper gives the policy a uniform share of 1%, which its '
    'code does not apply to discrete actions. '
    '`behavior.actor_critic.policy.mlp.discrete.categorical.unimix` sets it.',
  ),
)

# `dreamerv3/configs.yaml`, `defaults`.
REFERENCE = Preset(
  source='danijar/dreamerv3 at `e3f0224`, `defaults` of its `configs.yaml`. '
  'Its other numbers of agent, replay and batches are the defaults here, too.',
  lacks=(
    'Its suites of environments, and their wrappers.',
    'Clocks in seconds: `train.log_every`, `report_every` and `save_every` '
    'count environment steps here.',
    '`policy.unimix`, which it has as 1% and does not apply to discrete '
    'actions either.',
  ),
  size='200m',
  patterns={
    # `run.steps`
    'train.steps': 10_000_000_000,
  },
)

# The paper's table of hyperparameters, and the code of early 2023, in which
# they are the `defaults` (size XL).
PAPER_V1 = Preset(
  source='Hafner et al. 2023, *Mastering diverse domains through world models* '
  '(arXiv 2301.04104v1), in its largest size, XL; details from its code of '
  'early 2023.',
  lacks=(
    'The learned initial state: both parts start at 0.',
    'Gradients through the dynamics for continuous actions: REINFORCE trains '
    'all policies.',
    'Clipping of gradients by global norm, 1000 of the world model and 100 of '
    'actor and critic.',
    'ε = 1e-5 of the optimisers of actor and critic: there is one, with 1e-8.',
    'ε = 1e-3 of layer norms (1e-4 here); linear maps and convolutions before '
    'a norm without a bias.',
    'Uniform initial kernels of output layers.',
    'Images: the decoder predicted without a sigmoid, from a map without norm '
    'and activation.',
    'Dreams: continue flags that are the most likely ones, and the true one at '
    'the start.',
    'float16 on GPUs: `precision.compute=float16` sets it.',
    'The sizes XS to L, which had fewer layers. A size sets widths as of any '
    'other config.',
  ),
  patterns={
    # Everywhere: layer norm; truncated normal by the mean of the fans.
    '**.norm': 'layer',
    '**.winit': 'trunc_normal_avg',
    # MLPs of 5 layers of 1024.
    '**.units': 1024,
    'encoder.simple.layers': 5,
    'decoder.simple.layers': 5,
    'reward.layers': 5,
    'cont.layers': 5,
    'behavior.**.layers': 5,
    # Strided convolutions of kernel 4, with twice the channels in each stage.
    '*.simple.depth': 96,
    '*.simple.mults': (1, 2, 4, 8),
    '*.simple.kernel': 4,
    '*.simple.strided': True,
    'decoder.simple.bspace': 0,
    # A dense GRU, and one layer in prior and posterior.
    'dynamics.name': 'gru',
    'dynamics.gru.deter': 4096,
    'dynamics.gru.hidden': 1024,
    'dynamics.gru.imglayers': 1,
    'loss_scales.dyn': 0.5,
    # Two-hot codes of the symlog of rewards and returns.
    'reward.head.name': 'symlog_twohot',
    'reward.head.symlog_twohot.outscale': 0.0,
    'behavior.**.value.head.name': 'symlog_twohot',
    'behavior.**.value.head.symlog_twohot.outscale': 0.0,
    # The policy.
    'behavior.**.discrete.categorical.unimix': 0.01,
    'behavior.**.discrete.categorical.outscale': 1.0,
    'behavior.**.continuous.bounded_normal.outscale': 1.0,
    # The continue head predicts no discount; no value loss on replay.
    'agent.contdisc': False,
    'agent.repval_loss': False,
    # Adam without warm-up, and its rates.
    'optimizer.name': 'adamw',
    'optimizer.adamw.lr': 1e-4,
    'optimizer.adamw.rates': ('^behavior/=3e-5',),
    'optimizer.adamw.agc': 0.0,
    'optimizer.adamw.warmup': 0,
    # Uniform replay, from zero states.
    'replay.chunked.capacity': 1_000_000,
    'replay.chunked.online': False,
    'replay.chunked.context': 0,
  },
)

PRESETS = {'nature': NATURE, 'reference': REFERENCE, 'paper_v1': PAPER_V1}


def apply(config: configs.ConfigDict, name: str) -> None:
  """Lays the differences of a preset over a config; other fields stay.

  Raises:
    UserError: No preset has this name.
  """
  preset = pick(PRESETS, name, 'preset')
  if preset.size:
    configs.apply_size(config, preset.size)
  configs.apply(config, preset.patterns, f'preset {name}')


def make(name: str, size: str = '') -> configs.ConfigDict:
  """The config of a preset, of another size if one is given.

  Raises:
    UserError: No preset, or no size, has this name.
  """
  config = configs.base()
  apply(config, name)
  configs.apply(config, PIXELS)
  if size:
    configs.apply_size(config, size)
  return config


def differences() -> dict[str, dict[str, Any]]:
  """Config path to value by preset, of all fields in which presets differ.

  `*` stands for the name of a component that is not the same in all presets;
  where it has not a field, that has no value.
  """
  chosen = {}
  for name in PRESETS:
    config = configs.base()
    apply(config, name)
    chosen[name] = configs.leaves(configs.resolve(config))
  names = {
    path: {found[path] for found in chosen.values() if path in found}
    for found in chosen.values()
    for path in found
    if path.endswith('.name')
  }
  varied = [path for path, found in names.items() if len(found) > 1]
  rows: dict[str, dict[str, Any]] = {}
  for name, found in chosen.items():
    for path, value in found.items():
      rows.setdefault(_starred(path, found, varied), {})[name] = value
  return {
    path: row
    for path, row in sorted(rows.items())
    if len(row) < len(PRESETS) or len(set(row.values())) > 1
  }


def _starred(
  path: str, leaves: Mapping[str, Any], varied: Iterable[str]
) -> str:
  """Puts `*` for the names of components in a path, where they vary."""
  for name in varied:
    place = name.removesuffix('.name')
    branch = f'{place}.{leaves.get(name)}.'
    if path.startswith(branch):
      path = f'{place}.*.{path.removeprefix(branch)}'
  return path


HEAD = """# Presets

Generated by `make tables`.

A preset is a published version of the algorithm, as a config file: `nature` is
the default, `reference` has the defaults of the original code, and `paper_v1`
is the first version of 2023.

```sh
python -m dreamer_nnx.main --config=paper_v1 --workdir=runs/v1 \\
  --config.env.name=gymnasium --config.env.gymnasium.id=CartPole-v1
```

`--config=reference:12m` sets the widths of another size. In Python,
`presets.make('paper_v1')` makes the config.

## Differences

All other fields are those of `nature`. `*` stands for the component that `name`
chooses, and `-` for a field that it does not have.
"""


def page() -> str:
  """The page of the documentation about presets, as Markdown."""
  lines = [HEAD, f'| field | {" | ".join(PRESETS)} |']
  lines.append('|' + '---|' * (1 + len(PRESETS)))
  for path, row in differences().items():
    cells = [_cell(row[name]) if name in row else '-' for name in PRESETS]
    lines.append(f'| `{path}` | {" | ".join(cells)} |')
  for name, preset in PRESETS.items():
    lines += ['', f'## {name}', '', f'{preset.source} Not reproduced:', '']
    lines += [f'- {text}' for text in preset.lacks]
  return '\n'.join(lines) + '\n'


def _cell(value: Any) -> str:
  text = f'{value:,}' if type(value) is int else str(value)
  return text.replace('|', r'\|') or "''"


if __name__ == '__main__':
  sys.stdout.write(page())
