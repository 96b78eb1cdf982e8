"""Environment variables of a process that compiles quickly, not well."""

# Tiny programs take far longer to optimise than to run, and to emit as fused
# loops as long as all the rest.
PLAIN = {
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  'XLA_FLAGS': '--xla_cpu_use_fusion_emitters=false',
}
