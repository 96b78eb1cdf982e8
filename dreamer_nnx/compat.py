"""The map from the names of older versions to those of today.

A name that moves gets a line in one of the tables below. Saved configs, flags,
and patterns of config files read PATHS; checkpoints read STATE and MODULES.

What is stored is read by every later version of the same first number. What
people write (flags, patterns) is read by the version that renamed it and by the
next minor one, with a warning; see RENAMED and `end`.
"""

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any

from dreamer_nnx.notices import warn_once

# Config paths, with all that is below them, and where they are now.
CRITIC = ('value', 'slow_value', 'retnorm', 'valnorm', 'advnorm')
SELECTORS = 'replay.chunked.selectors'
SHARES = {
  f'replay.chunked.{name}': f'{SELECTORS}.{name}.share'
  for name in ('uniform', 'priority', 'recency')
}
LATENT = 'dynamics.rssm.stochastic'
PATHS = {
  'policy': 'behavior.actor_critic.policy.mlp',
  **{name: f'behavior.actor_critic.{name}' for name in CRITIC},
  **{
    f'dynamics.rssm.{name}': f'{LATENT}.categorical.{name}'
    for name in ('stoch', 'classes', 'unimix')
  },
  **SHARES,
  'replay.chunked.priority_exponent': f'{SELECTORS}.priority.exponent',
  'replay.chunked.priority_max_fraction': f'{SELECTORS}.priority.max_fraction',
  'replay.chunked.priority_initial': f'{SELECTORS}.priority.initial',
  'replay.chunked.recency_exponent': f'{SELECTORS}.recency.exponent',
}
# Choices that are newer than the fields in them, and what these are fields of.
CHOICES = {
  'behavior': 'actor_critic',
  'behavior.actor_critic.policy': 'mlp',
  LATENT: 'categorical',
}
# Those of PATHS that said by a number above 0 that a component is in use, and
# the names that say it now.
LISTS = dict.fromkeys(SHARES, f'{SELECTORS}.names')
# Fields of every environment in a saved config.
ENV_FIELDS = {'vectorization': 'workers'}
# Fields that are gone, by the path of their section.
GONE_FIELDS = {('replay', 'chunked'): ('keep_indices',)}
# Fields of running episodes. `length` counted the first observation, too.
RUNNING = {'score': 'return', 'length': 'observations'}
TOTALS = {'score': 'return'}
# Arrays of a checkpoint's state: what is found in a name, and what replaces it.
STATE = {
  r'/averages/mass$': '/averages/weight',
  r'/finish/(\d+)/norm/': r'/norm_acts/\1/norm/',
  r'/finish/norm/': '/norm_act/norm/',
}
# Modules whose arrays, and the optimiser's for them, are now below others.
MODULES = {
  'policy': 'behavior/policy',
  'value': 'behavior/value',
  'slow_value': 'behavior/slow_value/module',
  'retnorm': 'behavior/retnorm',
  'valnorm': 'behavior/valnorm',
  'advnorm': 'behavior/advnorm',
}
# The version that renamed each name which people write.
RENAMED = dict.fromkeys((*PATHS, *MODULES), '0.2')
# Those past their `end`: read where they are stored, and nowhere else.
ENDED: frozenset[str] = frozenset()
# What the names of the optimiser's arrays have before that of a module: parts
# that are no module of an agent.
OPTIMIZER = (
  r'(?:optimizer/(?:(?!(?:encoder|dynamics|decoder|reward|cont|behavior'
  r'|objectives)/)[^/]+/)*?)?'
)
# Arrays of running episodes, and of what training carries on.
LOOP = {r'^(carry|train)\|latent\|': r'\1|dynamics|'}


def end(old: str) -> str:
  """Returns the first version that reads an old name only where it is stored.

  One minor version after the one that renamed it still reads it.
  """
  major, minor = map(int, RENAMED[old].split('.'))
  return f'{major}.{minor + 2}'


def start(name: str) -> str:
  """Returns the beginning of a config path that has moved; empty if none."""
  found = (old for old in PATHS if _within(name, old) and old not in ENDED)
  return next(found, '')


def path(name: str) -> str:
  """Returns where a field or section of then is in the config today."""
  old = start(name)
  return PATHS[old] + name[len(old) :] if old else name


def _within(name: str, section: str) -> bool:
  return f'{name}.'.startswith(f'{section}.')


def path_before(name: str) -> str:
  """Returns where a field of today was, or the same path."""
  for old, new in PATHS.items():
    if _within(name, new) and old not in ENDED:
      return old + name[len(new) :]
  return name


def listed(old: str, fields: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
  """Names to set, so that the component of a path of then is in use.

  Args:
    fields: Config path to value, of those that there are.
  """
  names = fields.get(LISTS.get(old, ''), ())
  name = _listed(old) if old in LISTS else ''
  return {LISTS[old]: (*names, name)} if name and name not in names else {}


def _listed(old: str) -> str:
  """The name among LISTS of the component that a path of then is of."""
  return PATHS[old].split('.')[LISTS[old].count('.')]


def warn(old: Collection[str], where: str, stored: bool = False) -> None:
  """Warns once that names of then were read as those of today.

  Args:
    old: Config paths that were set.
    where: Name of what set them.
    stored: Whether it goes on being read, with every later version.
  """
  moved = dict.fromkeys(filter(None, map(start, old)))
  if moved:
    said = ', '.join(f'{name} is now {PATHS[name]}' for name in moved)
    said += '.' if stored else f'.{_until(moved)}'
    warn_once(f'{where} has names of an older version: {said}', said)


def _until(old: Collection[str]) -> str:
  """Says in which version the first of some names ends."""
  ends = {end(name) for name in old}
  first = min(ends, key=lambda x: tuple(map(int, x.split('.'))))
  return f' Rename {"them" if len(old) > 1 else "it"} before version {first}.'


def config(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Renames the fields of a saved config, resolved, to those of today."""
  result = copy.deepcopy(dict(saved))
  for fields in _branches(result, 'env'):
    for old in ENV_FIELDS.keys() & fields.keys():
      fields[ENV_FIELDS[old]] = fields.pop(old)
  for section, branch in GONE_FIELDS:
    for fields in _branches(result, section, branch):
      for name in GONE_FIELDS[section, branch]:
        fields.pop(name, None)
  moved = [old for old in PATHS if _move(result, old, PATHS[old])]
  for names in dict.fromkeys(LISTS[old] for old in moved if old in LISTS):
    _list(result, names)
  warn(moved, 'the saved config', stored=True)
  return result


def _move(tree: dict[str, Any], old: str, new: str) -> bool:
  """Moves what is at a path of nested dicts; tells whether there was any."""
  *sections, key = old.split('.')
  source = _node(tree, sections)
  if not isinstance(source, dict) or key not in source:
    return False
  *sections, last = new.split('.')
  node, where = tree, ''
  for section in sections:
    where = f'{where}.{section}'.lstrip('.')
    named = {'name': CHOICES[where]} if where in CHOICES else {}
    node = node.setdefault(section, named)
    if not isinstance(node, dict):
      return False
  node[last] = source.pop(key)
  return True


def _list(tree: dict[str, Any], names: str) -> None:
  """Lists the components in use, and drops the others."""
  *sections, tag = names.split('.')
  node = _node(tree, sections)
  found = {old: _listed(old) for old in LISTS if LISTS[old] == names}
  for old, name in found.items():
    field = PATHS[old].rpartition('.')[2]
    if not node.get(name, {}).get(field):
      node.pop(name, None)
  node[tag] = [name for name in found.values() if name in node]


def _node(tree: Any, sections: list[str]) -> Any:
  for section in sections:
    tree = tree.get(section) if isinstance(tree, dict) else None
  return tree


def episodes(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Renames the entries of a saved state of `Episodes`."""
  if 'score' not in saved['running']:
    return dict(saved)
  totals = _renamed(saved['totals'], TOTALS)
  if 'length' in totals:
    total, count = totals['length']
    totals['length'] = [total - count, count]
  running = _renamed(saved['running'], RUNNING)
  return {**saved, 'running': running, 'totals': totals}


def state_name(name: str) -> str:
  """Returns what an array of a checkpoint is called now."""
  for pattern, new in STATE.items():
    name = re.sub(pattern, new, name)
  for old, new in MODULES.items():
    name = re.sub(f'^({OPTIMIZER}){old}/', rf'\1{new}/', name)
  return name


def state_name_before(name: str) -> str:
  """Returns what an array of a module that moved was called, or the same."""
  for old, new in MODULES.items():
    name = re.sub(f'^({OPTIMIZER}){new}/', rf'\1{old}/', name)
  return name


def searched(names: Collection[str], expression: str) -> set[str]:
  """The arrays of today in whose names a regular expression is found.

  One that speaks of modules of then, and of none of today, is searched for in
  the names of then, until their `end`; where that finds others, there is a
  warning.

  Raises:
    re.error: It is not a valid expression.
  """
  search = re.compile(expression).search
  found = {name for name in names if search(name)}
  words = re.findall(r'\w+', expression)
  of_then = [word for word in words if word in MODULES and word not in ENDED]
  if not of_then or re.search(r'behavior|module/', expression):
    return found
  found_then = {name for name in names if search(state_name_before(name))}
  if found_then != found:
    old = of_then[0]
    warn_once(
      f'{expression!r} is of an older version: {old}/ is now {MODULES[old]}/.'
      f'{_until([old])}'
    )
  return found_then


def loop_name(name: str) -> str:
  """Returns what an array of running episodes is called now."""
  for pattern, new in LOOP.items():
    name = re.sub(pattern, new, name)
  return name


def stored_names(
  stored: Collection[str], target: Collection[str]
) -> dict[str, str]:
  """Maps the names of today to those of a checkpoint.

  Args:
    stored: Names in the checkpoint.
    target: Names that a config builds; one that is among them is not old, and
      one that leads to none of them is left as it is.
  """
  found = {}
  for name in stored:
    new = name if name in target else state_name(name)
    found[new if new in target else name] = name
  return found


def _renamed(node: Mapping[str, Any], names: Mapping[str, str]) -> dict:
  return {names.get(name, name): value for name, value in node.items()}


def _branches(tree: dict, section: str, name: str = '') -> list[dict]:
  """The fields of the components in a section, or of the one of that name."""
  node = tree.get(section, {})
  items = node.items() if isinstance(node, dict) else ()
  return [x for key, x in items if isinstance(x, dict) and name in ('', key)]
