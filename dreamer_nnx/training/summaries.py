"""Summaries of all processes as one."""

from collections.abc import Mapping, Sequence

import numpy as np

from dreamer_nnx.contracts import VectorEnv

# Metrics that count what each process has or did.
SUMMED = {
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
# Means of episodes begin with this; so many they are of.
EPISODE, EPISODES = 'episode/', 'episode/count'


def merged(
  summaries: Sequence[Mapping[str, float]], envs: VectorEnv | None = None
) -> dict[str, float]:
  """Summaries of all processes as one.

  Episodes weigh alike wherever they were played; what counts things is summed;
  of what is a worst case the largest counts; the rest is averaged over the
  processes that have it. Environments with a method `joined` say themselves
  what theirs are.
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
      count = EPISODES if name.startswith(EPISODE) else ''
      weights = [x.get(count, 1.0) for x in having]
      result[name] = float(np.average(values, weights=weights))
  joined = getattr(envs, 'joined', None)
  return result | dict(joined(summaries)) if joined else result
