"""Environment variables of a process that compiles quickly, not well."""

import importlib.metadata

# Emitters of fused loops, which take as long as all the rest of compiling a
# tiny program; since 0.12 there is no such flag.
EMITTERS = (
  'xla_cpu_use_fusion_emitters'
  if importlib.metadata.version('jaxlib').startswith('0.10.')
  else None
)
# Tiny programs take far longer to optimise than to run.
PLAIN = {
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  'XLA_FLAGS': f'--{EMITTERS}=false' if EMITTERS else '',
}
