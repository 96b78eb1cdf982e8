"""The page in a real browser, where Playwright and Chromium are there."""

import time

import numpy as np
import pytest

from dreamer_nnx.diagnosis.checkup import Diagnosis
from dreamer_nnx.diagnosis.latents import Latents
from dreamer_nnx.diagnosis.unrolling import Errors
from dreamer_nnx.diagnosis.values import Episode, calibration
from dreamer_nnx.report import diagnostics, groups, runs, writing
from dreamer_nnx.report.logs import Log
from dreamer_nnx.report.runs import Run
from dreamer_nnx.training.video import write_video
from tests import browsers

playwright = pytest.importorskip('playwright.sync_api')
pytest.importorskip('imageio_ffmpeg')
pytestmark = pytest.mark.slow
LINES = 1_000_000
# Charts that are in view, or nearly, are drawn at once.
DRAWN = """() => {
  const near = [...document.querySelectorAll('.chart')].filter(
    (x) => x.getBoundingClientRect().top < innerHeight);
  return document.readyState === 'complete' && near.length > 0
    && near.every((x) => x.children.length > 0);
}"""
ALL = """() => [...document.querySelectorAll('.chart')].every(
  (x) => x.children.length > 0)"""
FRAME = '() => new Promise((done) => requestAnimationFrame(() => done(1)))'
PLAYS = '() => document.querySelector("video").currentTime > 0.2'


def diagnosis():
  """Findings in which one prediction is not finite."""
  rng = np.random.default_rng(0)
  errors = {k: rng.random(16) for k in ('image', 'reward', 'cont')}
  errors['image'][8:] = np.nan
  rewards = rng.normal(size=200)
  return Diagnosis(
    'step 8 in runs/x',
    bad='encoder/kernel',
    source='the replay',
    errors=Errors(8, errors, errors, errors, np.full(16, 128)),
    codes=Latents(1 + 15 * rng.random(16), 16, 9.0, rng.random(16)),
    norms={'image': 2.0, 'rew': np.nan},
    losses={'image': rng.random(16)},
    calibration=calibration([Episode(rng.random(200), rewards, True)], 0.9),
  )


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  """The page of a run of a million lines, with videos and diagnostics."""
  folder = tmp_path_factory.mktemp('report')
  values = np.random.default_rng(0).normal(size=LINES).tolist()
  log = Log()
  names = [f'train/loss/{x}' for x in ('dyn', 'rep', 'image', 'rew')]
  for i, x in enumerate(values, 1):
    log.add(
      {'env_steps': i, 'frames': 4 * i, 'time/elapsed': i / 50}
      | {'episode/return': x, 'train/opt/grad_norm': abs(x)}
      | dict.fromkeys(names, x * x)
    )
  frames = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3), np.uint8)
  for suffix in ('mp4', 'gif'):
    write_video(folder / 'videos' / f'{suffix}_100.{suffix}', frames, fps=10)
  found, _ = runs.video_files.read(folder)
  run = Run('x', folder, log, Log(), videos=found)
  look = lambda run: diagnostics.described(diagnosis())
  text = writing.html(groups.make([run]), False, look)
  assert len(text.encode()) < 5_000_000
  (folder / 'page.html').write_text(text)
  return folder / 'page.html'


def test_a_page_of_a_million_lines_is_drawn_at_once(file):
  with browsers.opened(playwright) as page:
    # Seconds of the main thread's own work, whatever else the machine does.
    session = page.context.new_cdp_session(page)
    session.send('Performance.enable', {'timeDomain': 'threadTicks'})
    began = time.monotonic()
    page.goto(file.as_uri(), wait_until='commit')
    page.wait_for_function(DRAWN)
    page.evaluate(FRAME)
    waited = time.monotonic() - began
    found = session.send('Performance.getMetrics')['metrics']
    worked = {x['name']: x['value'] for x in found}['TaskDuration']
    print(f'Drawn after {waited:.2f} s, with {worked:.2f} s of work.')
    assert 0 < worked < 2


def test_everything_is_drawn_and_videos_play(file):
  with browsers.opened(playwright) as page:
    page.goto(file.as_uri())
    page.wait_for_function(ALL, timeout=120_000)
    assert page.locator('.chart').count() >= 12
    # A browser plays what is in view.
    page.locator('video').scroll_into_view_if_needed()
    page.wait_for_function(PLAYS, timeout=60_000)
    image = page.locator('img')
    assert image.count() == 1
    assert image.evaluate('x => x.complete && x.naturalWidth') > 0
    warnings = page.locator('.warnings li').all_inner_texts()
    assert any('encoder/kernel' in text for text in warnings)
    # All charts go along when the axis is switched.
    page.check('input[value=hours]')
    assert page.is_checked('input[value=hours]')
