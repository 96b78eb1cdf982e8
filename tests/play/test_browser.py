"""The page in a real browser, where Playwright and Chromium are there."""

import re
import subprocess
import sys

import pytest

from tests import browsers
from tests.launcher import ROOT
from tests.plain import CACHE
from tests.training.waiting import wait_for

playwright = pytest.importorskip('playwright.sync_api')
expect = playwright.expect
expect.set_options(timeout=60_000)
pytestmark = pytest.mark.slow
# Of pictures that can be told apart.
SHOWN = "document.querySelector('#dream canvas').toDataURL()"


@pytest.fixture(scope='module')
def address(workdir):
  command = [sys.executable, '-m', 'dreamer_nnx.main', '--mode=play']
  command += [f'--workdir={workdir}', f'--compilation_cache={CACHE}']
  process = subprocess.Popen(
    command,
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  found, said = None, []
  for line in process.stdout:
    said.append(line)
    if found := re.search(r'http://127\.0\.0\.1:\d+/\S+/', line):
      break
  assert found, f'the player did not start:\n{"".join(said)}'
  yield found[0]
  process.terminate()
  assert process.wait(30) in (0, -15)


@pytest.fixture
def page(address):
  with browsers.opened(playwright) as shown:
    shown.goto(address)
    shown.wait_for_selector('#dream canvas', timeout=120_000)
    yield shown


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
  expect(page.locator('#run')).to_have_attribute('aria-pressed', 'false')
  # The step that is under way is the last.
  wait_for(lambda: not page.evaluate('state.busy'))
  stopped = step_of(page)
  page.wait_for_timeout(600)
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
