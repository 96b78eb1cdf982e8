"""Environment variables of a process that compiles quickly, not well."""

import importlib.metadata
import pathlib
import tempfile

# Programs compiled by an earlier test, process or run are not compiled again.
CACHE = pathlib.Path(tempfile.gettempdir()) / 'dreamer_nnx_tests_xla'
CACHED = {
  'JAX_COMPILATION_CACHE_DIR': str(CACHE),
  # In seconds. What takes less is as quickly compiled as read.
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.03',
  'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
}
# Emitters of fused loops, which take as long as all the rest of compiling a
# tiny program; since 0.12 there is no such flag.
EMITTERS = (
  'xla_cpu_use_fusion_emitters'
  if importlib.metadata.version('jaxlib').startswith('0.10.')
  else None
)
# A tiny program is not worth being compiled in 32 parts.
WHOLE = '--xla_cpu_parallel_codegen_split_count=1'
# Tiny programs take far longer to optimise than to run.
PLAIN = {
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  # No lines of the source in what is compiled.
  'JAX_TRACEBACK_IN_LOCATIONS_LIMIT': '0',
  'XLA_FLAGS': f'{WHOLE} --{EMITTERS}=false' if EMITTERS else WHOLE,
}
