"""Writes docs/toolbox.md from the logs of the runs.

python -m experiments.components.table
"""

import math
import re
from collections.abc import Iterator, Mapping

from dreamer_nnx.registry import Builder
from dreamer_nnx.slots import (
  AUGMENTATION,
  BEHAVIOR,
  DECODER,
  DYNAMICS,
  ENCODER,
  HEAD,
  NORMALIZER,
  OBJECTIVE,
  OPTIMIZER,
  POLICY,
  SELECTOR,
  STOCHASTIC,
  WEIGHTING,
)
from experiments.components import entries, results
from experiments.components.results import TRAINED, UNTRAINED, Result
from experiments.jobs.numbers import DASH, markdown

DOC = entries.ROOT / 'docs' / 'toolbox.md'
# Slot to what its entries are, and how the runs use them.
SLOTS = {
  ENCODER: 'Observations to tokens.',
  DECODER: 'Features to observations. Without one, an objective trains them.',
  DYNAMICS: 'What is remembered, and how it goes on.',
  STOCHASTIC: 'What is drawn in a step, in the dynamics `rssm`.',
  BEHAVIOR: 'How actions are chosen, and what learns to choose them.',
  POLICY: 'Features to a distribution over actions.',
  OBJECTIVE: 'Further losses, and rewards of dreams.',
  WEIGHTING: 'Weights of the losses.',
  AUGMENTATION: 'Changes of the batches that are trained on.',
  SELECTOR: 'Which sequences are trained on.',
  OPTIMIZER: 'Gradients to changes of parameters.',
  HEAD: 'Features to the distribution of a number, of reward and value alike, '
  'or of an action or a flag.',
  NORMALIZER: 'Scales of returns, in `retnorm`.',
}
# Key of a game to what is played.
GAMES = {
  'track': '`track` of the demo, images of 16x16 pixels',
  'demonstrations': '`catch`; a quarter of each batch shows a scripted player',
  'chain': 'a walk on six places in a row; masks and costs, where a component '
  'reads them, say which moves lead off the ends, and which places cost',
  'point': 'a walk on a line to a place that is shown; actions are one number',
  'onehot': 'that walk; actions are three numbers, one-hot',
}
HEAD_OF_DOC = """# The toolbox

What there is to choose in each slot, tried: trained for {steps:,} environment
steps at the settings of `configs/demo.py`, which trains for four times as many,
on one seed. After so few updates the default itself is half way, so the returns
do not rank the components.
`python -m experiments.components.table` writes this page from the logs of the
runs, which are kept in
[experiments/components](../experiments/components/README.md).

- *parameters*: those that are trained, of the whole agent.
- *update*: time of an update divided by that of the game's default, median of
  {turns} in turns in one process, from the batch being drawn to its latents
  being stored. It is the time that the processor works for it, all cores
  together, so that other programs disturb little: {machine}.
- *return*: mean of {episodes} episodes with greedy actions after training, and
  its standard error; *default*, that of the game's default; *untrained*, of the
  run's own first parameters, with sampled actions.

The defaults of the games:

"""
HEADINGS = ('game', 'parameters', 'update', 'return', 'untrained', 'steps')
COLUMNS = (
  'component',
  'paper',
  'parameters',
  'update',
  'return',
  'default',
  'untrained',
  'game',
  'steps',
)
LOSS = 'train/loss/image'


def main() -> None:
  DOC.write_text(page(results.read_all()), encoding='utf-8')
  print(f'Wrote {DOC.relative_to(entries.ROOT)}.')


def page(found: Mapping[str, Result]) -> str:
  """The text of the page.

  Args:
    found: Results by the name of their run.
  """
  if not found:
    return '# The toolbox\n\nThere are no runs.\n'
  result = next(iter(found.values()))
  text = HEAD_OF_DOC.format(
    steps=max(result.steps for result in found.values()),
    turns=len(result.timing['entry']),
    episodes=int(result.evaluation(TRAINED)['eval/episodes']),
    machine=machines(found),
  )
  text += markdown(HEADINGS, default_rows(found)) + not_yet(found)
  for slot, meaning in SLOTS.items():
    if rows := list(component_rows(slot.name, found)):
      path = entries.PATHS[slot.name]
      title = f'\n## {slot.name}\n\n{meaning} `config.{path}`\n\n'
      text += title + markdown(COLUMNS, rows)
  return text


def not_yet(found: Mapping[str, Result]) -> str:
  """Names the runs that act no better than untrained, and what they learned.

  That is, by less than two standard errors of the difference.
  """
  lines = []
  for name, result in found.items():
    after, before = (result.evaluation(x) for x in (TRAINED, UNTRAINED))
    error = math.hypot(after['eval/stderr'], before['eval/stderr'])
    if after['eval/return'] - before['eval/return'] > 2 * error:
      continue
    losses = [m[LOSS] for m in result.metrics if LOSS in m]
    learned = ' to '.join(f'{x:.1f}' for x in losses[:: len(losses) - 1 or 1])
    lines.append(f'`{name}`' + (f' ({learned})' if losses else ''))
  if not lines:
    return ''
  return (
    '\nThese do not act better than untrained yet; in brackets, what their '
    f'loss of images fell from and to, if there are any: {", ".join(lines)}.\n'
  )


def machines(found: Mapping[str, Result]) -> str:
  """The machines of the runs, in words."""
  facts = {(r.machine['cores'], r.machine['model']) for r in found.values()}
  return '; '.join(
    f'{cores} cores of {model}' for cores, model in sorted(facts)
  )


def default_rows(found: Mapping[str, Result]) -> Iterator[tuple[str, ...]]:
  """Rows of the games' own runs."""
  for game, meaning in GAMES.items():
    result = found.get(entries.Entry(game=game).name)
    if result:
      yield (
        meaning,
        f'{result.parameters:,}',
        f'{result.milliseconds:.0f} ms',
        returns(result, TRAINED),
        returns(result, UNTRAINED),
        f'{result.steps:,}',
      )


def component_rows(
  slot: str, found: Mapping[str, Result]
) -> Iterator[tuple[str, ...]]:
  """Rows of the components of a slot that have a result."""
  builders = {s.name: s for s in SLOTS}[slot]
  runs = {key: name for key, name in entries.runs().items() if key[0] == slot}
  for (_, component), name in runs.items():
    if name not in found or component not in builders.names():
      continue
    result, entry = found[name], entries.named(name)
    default = entries.Entry(game=entry.game).name
    beside = found.get(default) if name != default else None
    yield (
      f'`{component}`',
      papers(builders.builder(component)),
      f'{result.parameters:,}',
      f'{result.slowdown:.2f}' if name != default else 'default',
      returns(result, TRAINED),
      returns(beside, TRAINED) if beside else DASH,
      returns(result, UNTRAINED),
      f'`{entry.game}`',
      f'{result.steps:,}',
    )


def returns(result: Result, policy: str) -> str:
  """Mean and standard error of an evaluation."""
  found = result.evaluation(policy)
  return f'{found["eval/return"]:.1f} ± {found["eval/stderr"]:.1f}'


def papers(builder: Builder) -> str:
  """Links to the papers that a builder's docstring names."""
  numbers = re.findall(r'arXiv[\s:]+(\d{4}\.\d{5})', builder.__doc__ or '')
  links = [f'[{n}](https://arxiv.org/abs/{n})' for n in dict.fromkeys(numbers)]
  return ', '.join(links) or DASH


if __name__ == '__main__':
  main()
