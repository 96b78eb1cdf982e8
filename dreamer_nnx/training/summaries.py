"""Summaries of all processes as one."""

from collections.abc import Mapping, Sequence

import numpy as np

from dreamer_nnx.envs import crafter

# Metrics that count what each process has or did.
SUMMED = {
  'crafter/episodes',
  'episode/count',
  'replay/steps',
  'replay/sequences',
  'replay/chunks',
  'replay/size_gib',
  'replay/inserts',
  'replay/samples',
  'replay/written_back',
  'replay/lost',
  'replay/online_queue',
  'replay/skipped_files',
  'replay/written_bytes',
  'replay/save_waited',
}
SUMMED_GROUPS = ('env/',)
# Metrics that are the worst of any process.
LARGEST = {'env/lateness_ms'}
# Means and shares, by what they begin with: what they are of.
COUNTS = {'episode': 'episode/count', 'crafter': 'crafter/episodes'}


def merged(summaries: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Summaries of all processes as one.

  Episodes weigh alike wherever they were played; what counts things is summed;
  of what is a worst case the largest counts; the rest is averaged over the
  processes that have it. The score of Crafter is that of all episodes.
  """
  if len(summaries) == 1:
    return dict(summaries[0])
  result = {}
  for name in sorted(set().union(*summaries)):
    having = [x for x in summaries if name in x]
    values = [x[name] for x in having]
    if name in LARGEST:
      result[name] = float(max(values))
    elif name in SUMMED or name.startswith(SUMMED_GROUPS):
      result[name] = float(sum(values))
    else:
      count = COUNTS.get(name.partition('/')[0], '')
      weights = [x.get(count, 1.0) for x in having]
      result[name] = float(np.average(values, weights=weights))
  return result | crafter.rescored(result)
