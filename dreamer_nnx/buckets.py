"""The client of buckets: each failure there is an OSError that says why.

The one of gcsfs raises errors of the packages below it, and takes a folder
that it cannot look at for none: a run would begin anew.
"""

from typing import Any

import gcsfs
from fsspec import asyn

from dreamer_nnx import paths

# A range beyond the end, which gcsfs itself expects.
NO_SUCH_RANGE = 416


class Store(gcsfs.GCSFileSystem):
  """Buckets as gcsfs has them, with errors to rely on.

  Raises:
    OSError: A call has failed; FileNotFoundError where there is no such object.
  """

  async def _call(
    self, method: str, path: str, *names: str, **kwargs: Any
  ) -> Any:
    try:
      return await super()._call(method, path, *names, **kwargs)
    except Exception as error:
      told = isinstance(error, OSError) and str(error)
      if told or getattr(error, 'code', None) == NO_SUCH_RANGE:
        raise
      if reason := paths.refusal(error):
        where = f'gs://{"/".join(names)}' if names else path
        raise paths.StoreError(f'{where}: {reason}') from error
      raise

  call = asyn.sync_wrapper(_call)

  async def _isdir(self, path: str) -> bool:
    try:
      found = await self._info(path)
      if found['type'] == 'directory':
        return True
      # An object may have the name of a folder.
      return await self._ls(path, max_results=1) != [found['name']]
    except FileNotFoundError:
      return False
