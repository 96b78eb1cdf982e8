"""Steps between two threads, and holding one of them."""

import threading
import time

import numpy as np
import pytest

from dreamer_nnx.training.exchange import Exchange
from tests.training.waiting import wait_for

STEP = {'x': np.zeros(10, np.uint8)}, np.zeros(1, bool)
# Seconds within which a thread that can go on has done so.
SOON = 60.0


class Acting(threading.Thread):
  """A thread that puts a step whenever it may."""

  def __init__(self, exchange, pause=0.0):
    super().__init__(daemon=True)
    self.exchange, self.pause, self.count = exchange, pause, 0
    self.start()

  def run(self):
    while self.exchange.goes_on():
      self.count += 1
      self.exchange.put(STEP)
      time.sleep(self.pause)
    self.exchange.finish()


@pytest.fixture
def exchange():
  return Exchange(limit=1000)


def test_steps_arrive_once_and_in_order(exchange):
  for name in 'abc':
    exchange.put(({name: STEP[0]['x']}, STEP[1]))
  assert [next(iter(arrays)) for arrays, _ in exchange.take(0)] == [*'abc']
  assert exchange.take(0) == []


def test_taking_waits_for_a_step_but_not_for_ever(exchange):
  start = time.monotonic()
  assert exchange.take(0.05) == []
  assert time.monotonic() - start >= 0.05
  acting = Acting(exchange, pause=0.01)
  assert exchange.take(SOON)
  exchange.end()
  acting.join()


def test_a_held_thread_makes_no_step(exchange):
  acting = Acting(exchange, pause=1e-3)
  with exchange.held():
    exchange.take(0)
    before = acting.count
    time.sleep(0.05)
    assert acting.count == before
    assert exchange.take(0) == []
  wait_for(lambda: acting.count > before)
  exchange.end()
  acting.join()


def test_acting_waits_where_steps_are_not_taken(exchange):
  acting = Acting(exchange)
  # Of 10 bytes each; the one that goes beyond the limit is still made.
  wait_for(lambda: acting.count == 101)
  time.sleep(0.05)
  assert acting.count == 101
  with exchange.held():
    assert len(exchange.take(0)) == 101
  wait_for(lambda: acting.count == 202)
  exchange.end()
  acting.join()


def test_the_last_steps_can_be_taken_after_the_end(exchange):
  acting = Acting(exchange, pause=1e-3)
  wait_for(lambda: acting.count > 3)
  exchange.end()
  acting.join()
  assert not exchange.finished
  assert len(exchange.take(0)) == acting.count
  assert exchange.finished
  with exchange.held():
    pass
  assert exchange.take(SOON) == []
