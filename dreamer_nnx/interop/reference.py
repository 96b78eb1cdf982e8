"""Parameters of danijar/dreamerv3 under this project's names.

Both hold the same numbers in the same shapes, but for the running statistics,
which are stacked here, and the channels of several decoded images, which are
in sorted order here.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]

# Each rule rewrites the start of a name; the first that matches is applied.
RULES = tuple(
  (re.compile(pattern), replacement)
  for pattern, replacement in (
    (r'enc/mlp(\d+)norm/', r'encoder/vectors/mlp/layers/\1/norm_act/norm/'),
    (r'enc/mlp(\d+)/', r'encoder/vectors/mlp/layers/\1/linear/'),
    (r'enc/cnn(\d+)norm/', r'encoder/images/norm_acts/\1/norm/'),
    (r'enc/cnn(\d+)/', r'encoder/images/convs/\1/'),
    (r'dyn/dynin0norm/', r'dynamics/core/deter_in/norm_act/norm/'),
    (r'dyn/dynin0/', r'dynamics/core/deter_in/linear/'),
    (r'dyn/dynin1norm/', r'dynamics/core/stoch_in/norm_act/norm/'),
    (r'dyn/dynin1/', r'dynamics/core/stoch_in/linear/'),
    (r'dyn/dynin2norm/', r'dynamics/core/action_in/norm_act/norm/'),
    (r'dyn/dynin2/', r'dynamics/core/action_in/linear/'),
    (r'dyn/dynhid(\d+)norm/', r'dynamics/core/norm_acts/\1/norm/'),
    (r'dyn/dynhid(\d+)/', r'dynamics/core/hidden/\1/'),
    (r'dyn/dyngru/', r'dynamics/core/gates/'),
    (r'dyn/obs(\d+)norm/', r'dynamics/posterior/layers/\1/norm_act/norm/'),
    (r'dyn/obs(\d+)/', r'dynamics/posterior/layers/\1/linear/'),
    (r'dyn/obslogit/', r'dynamics/posterior/out/'),
    (r'dyn/prior(\d+)norm/', r'dynamics/prior/layers/\1/norm_act/norm/'),
    (r'dyn/prior(\d+)/', r'dynamics/prior/layers/\1/linear/'),
    (r'dyn/priorlogit/', r'dynamics/prior/out/'),
    (r'dec/mlp/norm(\d+)/', r'decoder/vectors/mlp/layers/\1/norm_act/norm/'),
    (r'dec/mlp/linear(\d+)/', r'decoder/vectors/mlp/layers/\1/linear/'),
    (r'dec/vec/', r'decoder/vectors/heads/'),
    (r'dec/sp0/', r'decoder/images/minimal/deter/'),
    (r'dec/sp1norm/', r'decoder/images/minimal/hidden/norm_act/norm/'),
    (r'dec/sp1/', r'decoder/images/minimal/hidden/linear/'),
    (r'dec/sp2/', r'decoder/images/minimal/stoch/'),
    (r'dec/spacenorm/', r'decoder/images/minimal/norm_act/norm/'),
    (r'dec/space/', r'decoder/images/minimal/linear/'),
    (r'dec/spnorm/', r'decoder/images/minimal/norm_act/norm/'),
    (r'dec/conv(\d+)norm/', r'decoder/images/norm_acts/\1/norm/'),
    (r'dec/conv(\d+)/', r'decoder/images/convs/\1/'),
    (r'dec/imgout/', r'decoder/images/out/'),
    (
      r'(rew|con|pol|val|slowval)/mlp/norm(\d+)/',
      r'\1/mlp/layers/\2/norm_act/norm/',
    ),
    (
      r'(rew|con|pol|val|slowval)/mlp/linear(\d+)/',
      r'\1/mlp/layers/\2/linear/',
    ),
    (r'pol/head/', r'pol/heads/'),
  )
)
MODULES = {
  'rew': 'reward',
  'con': 'cont',
  'pol': 'behavior/policy',
  'val': 'behavior/value',
  'slowval': 'behavior/slow_value/module',
}
# Names of the reference's output layers here, by kind of head.
LAYERS = {
  'logits': ('logits', 'logits/linear'),
  'logit': ('logit',),
  'pred': ('mean/linear',),
  'mean': ('mean/linear',),
  'stddev': ('std/linear',),
}
LACKING = ('key', 'diverged')
STATISTICS = {'lo': 0, 'hi': 1, 'mean': 0, 'sqrs': 1}


def convert(
  reference: Arrays,
  target: Mapping[str, object],
  image_keys: Sequence[tuple[str, int]] = (),
) -> dict[str, np.ndarray]:
  """Converts the reference's arrays to the names of `target`.

  Args:
    reference: Flat names to arrays, e.g. `enc/cnn0/kernel`.
    target: Names to anything with a shape, `Learner.abstract`. Arrays that the
      reference lacks by design, LACKING, are left out of the result.
    image_keys: (key, channels) of the decoded images in the reference's order,
      where that is not the sorted one.

  Returns:
    One array for each name of `target` but these.

  Raises:
    ValueError: Names are missing or left over, or shapes differ.
  """
  result = _statistics(reference)
  stages = _decoder_stages(reference)
  for name, value in reference.items():
    new = rename(name, target, stages)
    if new:
      result[new] = _reorder(new, value, image_keys)
  _verify(result, target)
  return result


def rename(
  name: str, target: Mapping[str, object], decoder_stages: int
) -> str | None:
  """Translates a reference name to this project's; None for statistics."""
  if re.match(r'(ret|val|adv)norm/', name) or name == 'slowval_count/value':
    return None
  if name == 'opt/step/value':
    return 'updates'
  if match := re.fullmatch(r'opt/state/(\d)/(0|count)', name):
    return {'1': 'optimizer/1/count', '2': 'optimizer/2/count'}.get(
      match[1], 'optimizer/4/count'
    )
  if match := re.fullmatch(r'opt/state/([12])/1/(.*)', name):
    slot = {'1': 'optimizer/1/nu/', '2': 'optimizer/2/mu/'}[match[1]]
    return slot + _parameter(match[2], target, decoder_stages)
  return _parameter(name, target, decoder_stages)


def _parameter(name, target, decoder_stages):
  new = name
  for pattern, replacement in RULES:
    if pattern.match(name):
      new = pattern.sub(replacement, name, count=1)
      break
  # The reference numbers the decoder's stages from the image inwards.
  stage = re.match(r'(decoder/images/(?:convs|norm_acts)/)(\d+)(/.*)', new)
  if stage:
    index = decoder_stages - 1 - int(stage[2])
    new = f'{stage[1]}{index}{stage[3]}'
  first, _, rest = new.partition('/')
  new = f'{MODULES.get(first, first)}/{rest}'
  parent, _, leaf = new.rpartition('/')
  parent, _, layer = parent.rpartition('/')
  options = [f'{parent}/{x}/{leaf}' for x in LAYERS.get(layer, ())]
  return next((x for x in options if x in target), new)


def _decoder_stages(reference):
  found = [re.fullmatch(r'dec/conv(\d+)/kernel', name) for name in reference]
  return max((int(m[1]) + 1 for m in found if m), default=0)


def _statistics(reference):
  """Converts running averages: two scalars there are one array here."""
  result = {}
  for name, value in reference.items():
    match = re.fullmatch(r'((?:ret|val|adv)norm)/(\w+)/value', name)
    if match and match[2] == 'corr':
      result[f'behavior/{match[1]}/averages/weight'] = np.asarray(value)
    elif match:
      pair = result.setdefault(
        f'behavior/{match[1]}/averages/values', np.zeros(2, np.float32)
      )
      pair[STATISTICS[match[2]]] = value
  return result


def _reorder(name, value, image_keys):
  """Sorts the output channels of the last image convolution by key."""
  if not re.search(r'decoder/images/out/(kernel|bias)$', name):
    return np.asarray(value)
  start, parts = 0, {}
  for key, channels in image_keys:
    parts[key] = value[..., start : start + channels]
    start += channels
  if not parts:
    return np.asarray(value)
  return np.concatenate([parts[key] for key in sorted(parts)], -1)


def _verify(result, target):
  wanted = {k: tuple(v.shape) for k, v in target.items() if k not in LACKING}
  problems = [
    f'{k} {wanted[k]} is missing' for k in wanted.keys() - result.keys()
  ]
  problems += [f'{k} has no place here' for k in result.keys() - wanted.keys()]
  problems += [
    f'{k} is {result[k].shape}, this config builds {wanted[k]}'
    for k in wanted.keys() & result.keys()
    if result[k].shape != wanted[k]
  ]
  if problems:
    shown = '\n  '.join(sorted(problems)[:10])
    raise ValueError(
      f'the reference run does not fit this config, {len(problems)} arrays:\n'
      f'  {shown}\nWere size, heads and spaces the same?'
    )
