"""The map from the names in older workdirs to those of today."""

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any

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
  return result


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
  return name


def stored_names(
  stored: Collection[str], target: Collection[str]
) -> dict[str, str]:
  """Maps the names of today to those of a checkpoint.

  Args:
    stored: Names in the checkpoint.
    target: Names that a config builds; one that is among them is not old.
  """
  return {name if name in target else state_name(name): name for name in stored}


def _renamed(node: Mapping[str, Any], names: Mapping[str, str]) -> dict:
  return {names.get(name, name): value for name, value in node.items()}


def _branches(tree: dict, section: str, name: str = '') -> list[dict]:
  """The fields of the components in a section, or of the one of that name."""
  node = tree.get(section, {})
  items = node.items() if isinstance(node, dict) else ()
  return [x for key, x in items if isinstance(x, dict) and name in ('', key)]
