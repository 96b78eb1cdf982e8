import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx.training.snapshot import Snapshot


def state_of(seed: int) -> dict[str, jax.Array]:
  return {
    'kernel': jax.random.normal(jax.random.key(seed), (64, 64)),
    'bias': jnp.full(8, seed, jnp.bfloat16),
    'updates': jnp.int32(seed),
    'key': jax.random.key(seed),
  }


def bits(x: jax.Array) -> np.ndarray:
  is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(x) if is_key else x)


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
      np.testing.assert_array_equal(bits(taken[name]), bits(expected), name)
      assert taken[name].dtype == expected.dtype
    places.append(taken['kernel'].unsafe_buffer_pointer())
    del taken
  assert len(set(places)) == 1


def test_another_state_is_copied_too():
  snapshot = Snapshot()
  snapshot.take(state_of(1))
  assert snapshot.take({'a': jnp.ones(3)}).keys() == {'a'}
