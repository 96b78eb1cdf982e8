"""A real browser for tests, where Playwright and Chromium are there."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

# The browser loads nothing from elsewhere, and needs no sandbox in a container.
ARGUMENTS = (
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
)


@contextlib.contextmanager
def opened(playwright: Any) -> Iterator[Any]:
  """An empty page; when it is left, nothing may have gone wrong in it.

  Args:
    playwright: The module `playwright.sync_api`.
  """
  chromium = shutil.which('chromium') or shutil.which('chromium-browser')
  with playwright.sync_playwright() as player:
    browser = player.chromium.launch(
      executable_path=chromium, args=list(ARGUMENTS)
    )
    # A context of its own may have further pages.
    shown, faults = browser.new_context().new_page(), []
    shown.on('console', lambda x: x.type == 'error' and faults.append(x))
    shown.on('pageerror', lambda error: faults.append(error))
    yield shown
    assert not faults, [str(x) for x in faults]
    browser.close()
