import jax
import jax.numpy as jnp

from dreamer_nnx.training.snapshot import Snapshot


def state_of(seed: int) -> dict[str, jax.Array]:
  return {
    'kernel': jax.random.normal(jax.random.key(seed), (64, 64)),
    'bias': jnp.full(8, seed, jnp.bfloat16),
    'updates': jnp.int32(seed),
    'key': jax.random.key(seed),
  }


def test_copies_outlive_the_state_and_use_their_memory_again():
  snapshot = Snapshot()
  overwrite = jax.jit(
    lambda state: jax.tree.map(lambda x: x, state), donate_argnums=0
  )
  places = []
  for seed in (1, 2, 3):
    state = state_of(seed)
    taken = snapshot.take(state)
    overwrite(state)
    assert all(x.is_deleted() for x in state.values())
    for name, expected in state_of(seed).items():
      assert (taken[name].dtype, taken[name].shape) == (
        expected.dtype,
        expected.shape,
      )
      assert (taken[name] == expected).all(), name
    places.append(taken['kernel'].unsafe_buffer_pointer())
    del taken
  assert len(set(places)) == 1


def test_another_state_is_copied_too():
  snapshot = Snapshot()
  snapshot.take(state_of(1))
  assert snapshot.take({'a': jnp.ones(3)}).keys() == {'a'}
