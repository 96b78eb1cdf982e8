"""The page in a real browser, where Playwright and Chromium are there."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.launcher import ROOT
from tests.plain import CACHE

playwright = pytest.importorskip('playwright.sync_api')
expect = playwright.expect
expect.set_options(timeout=60_000)
pytestmark = pytest.mark.slow
# Of pictures that can be told apart.
SHOWN = "document.querySelector('#dream canvas').toDataURL()"
# The browser loads nothing from elsewhere, and needs no sandbox in a container.
ARGUMENTS = (
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
)


@pytest.fixture(scope='module')
def address(workdir):
  command = [sys.executable, '-m', 'dreamer_nnx.main', '--mode=play']
  command += [f'--workdir={workdir}', f'--compilation_cache={CACHE}']
  process = subprocess.Popen(
    command, cwd=ROOT, stdout=subprocess.PIPE, text=True
  )
  found = None
  for line in process.stdout:
    if found := re.search(r'http://127\.0\.0\.1:\d+/\S+/', line):
      break
  assert found, 'the player did not start'
  yield found[0]
  process.terminate()
  assert process.wait(30) in (0, -15)


@pytest.fixture
def page(address):
  chromium = shutil.which('chromium') or shutil.which('chromium-browser')
  with playwright.sync_playwright() as player:
    browser = player.chromium.launch(
      executable_path=chromium, args=list(ARGUMENTS)
    )
    shown = browser.new_page()
    shown.faults = []
    shown.on('console', lambda x: x.type == 'error' and shown.faults.append(x))
    shown.on('pageerror', lambda error: shown.faults.append(error))
    shown.goto(address)
    shown.wait_for_selector('#dream canvas', timeout=120_000)
    yield shown
    assert not shown.faults, [str(x) for x in shown.faults]
    browser.close()


def step_of(page):
  return int(page.inner_text('#step'))


def test_keys_act(page):
  before = page.evaluate(SHOWN)
  page.keyboard.press('ArrowDown')
  page.keyboard.press('.')
  expect(page.locator('#step')).to_have_text('1')
  pressed = page.locator('#controls button[aria-pressed=true]')
  assert pressed.all_inner_texts() == ['1']
  assert page.evaluate(SHOWN) != before
  assert 'environment: reward' in page.inner_text('#untold')
  # The policy takes over, and plays in real time.
  page.keyboard.press('p')
  assert page.input_value('#by') == 'greedy'
  page.keyboard.press('Space')
  expect(page.locator('#step')).to_have_text(re.compile('[3-9][0-9]'))
  page.keyboard.press('Space')
  page.wait_for_timeout(300)
  stopped = step_of(page)
  page.wait_for_timeout(300)
  assert step_of(page) == stopped


def test_moments_of_the_replay_are_chosen(page):
  page.keyboard.press('n')
  expect(page.locator('#where')).to_contain_text('sequence 1 of the replay')
  page.evaluate("place.value = 2; place.dispatchEvent(new Event('input'))")
  expect(page.locator('#where')).to_contain_text('step 3 of')
  page.select_option('#by', 'recording')
  page.click('#once')
  expect(page.locator('#step')).to_have_text('1')
  assert 'recording: reward' in page.inner_text('#untold')
  page.click('#eyes')
  page.wait_for_selector('#eyes[aria-pressed=true]')


def test_a_second_page_is_told_so(page, address):
  other = page.context.new_page()
  other.goto(address)
  expect(other.locator('#note')).to_contain_text('Somebody plays already')
