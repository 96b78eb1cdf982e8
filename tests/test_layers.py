"""The shape of the code: layers, where JAX's machinery is, sizes, and words.

Each rule is a function from a source file to its violations, so that every
rule is also tested on a line that breaks it.
"""

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'dreamer_nnx'
CODE = (PACKAGE, 'configs', 'experiments', 'tests')

# A unit (a module or folder of the package) imports from the rows above its
# own only, so the units of one row never import each other.
COMPONENTS = (
  'augmentations behaviors callbacks decoders dynamics encoders envs heads'
  ' loggers normalizers objectives optimizers policies replay weightings'
)
ROWS = (
  'errors notices spacetypes versions',
  'compat contracts native paths schema streams',
  'buckets importing leaves meanings sizes',
  'promises',
  'registry',
  'signatures slots spaces',
  'checks interface numerics',
  'nn',
  'acting',
  COMPONENTS,
  'agent',
  'interop',
  'training',
)
RANKS = {unit: rank for rank, row in enumerate(ROWS) for unit in row.split()}
# Modules beside the folders, and the checks for authors, come last, `main`
# after all of them.
TOP, MAIN = len(ROWS), len(ROWS) + 1
RANKS |= dict.fromkeys(
  (
    'diagnosis',
    'play',
    'preflight',
    'recording',
    'report',
    'templates',
    'testing',
  ),
  TOP,
)

MACHINERY = re.compile(
  r'jax\.(jit|grad|value_and_grad|make_mesh|sharding\.NamedSharding)'
  r'|flax\.nnx\.(jit|grad|value_and_grad|split|merge)'
  r'|orbax(\..*)?'
)
MECHANICS = {
  'dreamer_nnx/main.py',
  'dreamer_nnx/testing/live.py',
  'dreamer_nnx/trained.py',
  'dreamer_nnx/training/checkpoint.py',
  'dreamer_nnx/training/checkpoint_items.py',
  'dreamer_nnx/training/checkpoint_reading.py',
  'dreamer_nnx/training/layout.py',
  'dreamer_nnx/training/pure.py',
  'dreamer_nnx/training/retention.py',
  'dreamer_nnx/training/sharding.py',
  'dreamer_nnx/training/snapshot.py',
  'dreamer_nnx/training/step.py',
}
# Environments written in JAX compile their own step, and nothing else.
JITTED = 'dreamer_nnx/envs/jax_vector.py'

PROCESS_STATE = re.compile(
  r'jax\.config\.update|os\.(putenv|unsetenv)'
  r'|os\.environ\.(clear|pop|popitem|setdefault|update)'
)
# What these do not document changes without a word.
LIBRARIES = re.compile(
  r'(jax|jaxlib|flax|optax|orbax|gymnasium|chex|etils|ml_collections'
  r'|tensorstore)\b.*'
)
INSIDE = re.compile(
  r'.*\._[a-z].*|jaxlib\b.*'
  r'|jax\.(core|interpreters|lib|api_util|linear_util)\b.*'
  r'|jax\.experimental\.(?!(multihost_utils|topologies)\b).+'
  r'|flax\.nnx\.(graph|graphlib|reprlib|statelib|tracers|variablelib)\b.*'
)
# Parameters of JAX's equations.
UNDOCUMENTED = {'num_carry', 'num_consts'}
# Of named tuples, of `os`, and of implementations for fsspec, documented.
DOCUMENTED = {'_asdict', '_exit', '_fields', '_make', '_replace'}
DOCUMENTED |= {'_info', '_ls'}
VAGUE_NAMES = {'base', 'common', 'helpers', 'utils'}
# A docstring begins with a verb or a noun, so none of these.
NO_BEGINNING = re.compile(
  r'(and|are|as|at|because|by|for|from|has|have|how|if|in|into|is|its?|like'
  r'|likewise|nothing|of|on|or|such|than|that|these|this|those|to|what|when'
  r'|where|whether|which|while|who|whose|why|with)\b',
  re.IGNORECASE,
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 35

TEXT_SUFFIX = re.compile(r'|\.(cfg|json|lock|md|py|sh|toml|txt|ya?ml)')
BUILT_FOLDERS = {'build', 'dist', 'runs', 'wandb', '__pycache__'}
# What no file may have: paths of one machine, checks or tests silenced.
UNWANTED = re.compile(
  r'/(work|root)/|#\s*(noqa|type:\s*ignore)|mark\.skip|pytest\.skip'
)

Rule = Callable[[str, ast.Module], Iterator[str]]


@functools.cache
def parsed(text: str, path: str) -> ast.Module:
  return ast.parse(text, path)


@functools.cache
def nodes(tree: ast.Module) -> list[ast.AST]:
  return list(ast.walk(tree))


def unit_of(path: str) -> str:
  """`dreamer_nnx/nn/mlp.py` to `nn`; `dreamer_nnx/config.py` to `config`."""
  return path.removeprefix(f'{PACKAGE}/').split('/')[0].removesuffix('.py')


def rank_of(unit: str) -> int:
  return MAIN if unit == 'main' else RANKS.get(unit, TOP)


def absolute(path: str, node: ast.ImportFrom) -> str:
  """The module an import names, with leading dots resolved."""
  if not node.level:
    return node.module or ''
  folder = list(Path(path).parts[: -node.level])
  return '.'.join([*folder, *(node.module or '').split('.')]).strip('.')


def imports_of(path: str, tree: ast.Module) -> Iterator[tuple[int, str, str]]:
  """Line, name in the file and dotted target of each import, at any depth."""
  for node in nodes(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        target = alias.name if alias.asname else alias.name.split('.')[0]
        yield node.lineno, alias.asname or target, target
        if not alias.asname and target != alias.name:
          yield node.lineno, '', alias.name
    elif isinstance(node, ast.ImportFrom):
      module = absolute(path, node)
      for alias in node.names:
        yield node.lineno, alias.asname or alias.name, f'{module}.{alias.name}'


def dotted(node: ast.AST, names: dict[str, str]) -> str:
  """`jnp.ones` to 'jax.numpy.ones'; '' for what is no chain of names."""
  if isinstance(node, ast.Name):
    return names.get(node.id, node.id)
  if isinstance(node, ast.Attribute):
    owner = dotted(node.value, names)
    return f'{owner}.{node.attr}' if owner else ''
  return ''


def uses_of(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
  """Line and full dotted name of everything imported or looked up."""
  imports = list(imports_of(path, tree))
  names = {name: target for _, name, target in imports if name}
  yield from ((line, target) for line, _, target in imports)
  for node in nodes(tree):
    if isinstance(node, ast.Attribute):
      yield node.lineno, dotted(node, names)


def imports_point_down(path: str, tree: ast.Module) -> Iterator[str]:
  own = unit_of(path)
  for line, _, target in imports_of(path, tree):
    package, _, rest = target.partition('.')
    unit = rest.split('.')[0]
    if package != PACKAGE or not unit or unit == own:
      continue
    level = rank_of(unit) >= rank_of(own)
    if level and not rank_of(unit) == rank_of(own) == TOP:
      yield f'{path}:{line}: {own} imports {unit}, which is not below it'


def agent_is_handed_its_parts(path: str, tree: ast.Module) -> Iterator[str]:
  if unit_of(path) != 'agent':
    return
  for line, _, target in imports_of(path, tree):
    package, _, rest = target.partition('.')
    if package == PACKAGE and rest.split('.')[0] in COMPONENTS.split():
      yield f'{path}:{line}: {target} reaches the agent through a slot only'


def machinery_stays_home(path: str, tree: ast.Module) -> Iterator[str]:
  for line, name in uses_of(path, tree):
    allowed = path in MECHANICS or (path == JITTED and name == 'jax.jit')
    if MACHINERY.fullmatch(name) and not allowed:
      yield f'{path}:{line}: {name} belongs in {", ".join(sorted(MECHANICS))}'


def process_is_left_alone(path: str, tree: ast.Module) -> Iterator[str]:
  if path == f'{PACKAGE}/main.py':
    return
  names = {name: target for _, name, target in imports_of(path, tree) if name}
  for node in nodes(tree):
    name = ''
    if isinstance(node, ast.Call):
      name = dotted(node.func, names)
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
      name = dotted(node.value, names) + '.update'
    if PROCESS_STATE.fullmatch(name):
      yield f'{path}:{node.lineno}: only {PACKAGE}/main.py may call {name}'


def libraries_show_what_is_used(path: str, tree: ast.Module) -> Iterator[str]:
  for line, name in uses_of(path, tree):
    if LIBRARIES.fullmatch(name) and INSIDE.fullmatch(name):
      yield f'{path}:{line}: {name} is not documented'
  own = own_names() | defined_in(tree) | DOCUMENTED
  for node in nodes(tree):
    name = getattr(node, 'attr', getattr(node, 'value', None))
    private = isinstance(node, ast.Attribute) and re.match('_(?!_)', name)
    if (private and name not in own) or (
      isinstance(name, str) and name in UNDOCUMENTED
    ):
      yield f'{path}:{node.lineno}: {name} is of a library, not documented'


def defined_in(tree: ast.Module) -> set[str]:
  """Names of the functions, classes, variables and attributes made there."""
  names = set()
  for node in nodes(tree):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
      names.add(node.name)
    elif isinstance(getattr(node, 'ctx', None), ast.Store):
      names.add(getattr(node, 'attr', getattr(node, 'id', '')))
  return names


@functools.cache
def own_names() -> set[str]:
  """All that the project defines."""
  files = sources(*CODE).items()
  return set().union(*(defined_in(parsed(t, path)) for path, t in files))


def functions_are_short(path: str, tree: ast.Module) -> Iterator[str]:
  for node in nodes(tree):
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      continue
    # The signature of a builder is its schema, with a line for every field.
    documented = ast.get_docstring(node, clean=False) is not None
    body = node.body[1:] if documented else node.body
    lines = node.end_lineno - body[0].lineno + 1 if body else 0
    if lines > MAX_FUNCTION_LINES:
      where = f'{path}:{node.lineno}: {node.name}'
      yield f'{where} has {lines} lines, {MAX_FUNCTION_LINES} at most'


def docstrings_begin_well(path: str, tree: ast.Module) -> Iterator[str]:
  kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
  for node in nodes(tree):
    text = isinstance(node, kinds) and ast.get_docstring(node)
    if found := NO_BEGINNING.match(text or ''):
      line = getattr(node, 'lineno', 1)
      yield f'{path}:{line}: a docstring begins with {found[0]!r}'


def names_say_something(path: str, tree: ast.Module) -> Iterator[str]:
  for vague in VAGUE_NAMES & {part.lower() for part in Path(path).parts}:
    yield f'{path}: a folder called {vague} says nothing'
  if Path(path).stem.lower() in VAGUE_NAMES:
    yield f'{path}: a module called {Path(path).stem} says nothing'


def sources(*folders: str) -> dict[str, str]:
  """Path from the root to text, of every Python file below the folders."""
  files = [file for f in folders for file in sorted((ROOT / f).rglob('*.py'))]
  return {
    file.relative_to(ROOT).as_posix(): file.read_text('utf-8') for file in files
  }


def texts() -> dict[str, str]:
  """Path to text of every text file that a clone has."""
  found = {}
  for file in sorted(ROOT.rglob('*')):
    path = file.relative_to(ROOT)
    hidden = path.parts[0].startswith('.') and path.parts[0] != '.ci'
    built = BUILT_FOLDERS & set(path.parts) or '.egg-info' in path.as_posix()
    if hidden or built or not TEXT_SUFFIX.fullmatch(file.suffix):
      continue
    if file.is_file():
      found[path.as_posix()] = file.read_text('utf-8')
  return found


def violations(rule: Rule, files: dict[str, str]) -> list[str]:
  return [
    message
    for path, text in files.items()
    for message in rule(path, parsed(text, path))
  ]


PACKAGE_RULES = (
  imports_point_down,
  agent_is_handed_its_parts,
  machinery_stays_home,
  process_is_left_alone,
)
CODE_RULES = (docstrings_begin_well, functions_are_short, names_say_something)


@pytest.mark.parametrize('rule', PACKAGE_RULES, ids=lambda r: r.__name__)
def test_package_keeps_rule(rule):
  files = sources(PACKAGE)
  assert files
  found = violations(rule, files)
  assert not found, '\n'.join(found)


@pytest.mark.parametrize('rule', CODE_RULES, ids=lambda r: r.__name__)
def test_code_keeps_rule(rule):
  found = violations(rule, sources(PACKAGE, 'configs', 'experiments'))
  assert not found, '\n'.join(found)


def test_only_what_libraries_document_is_used():
  # This file has the lists of what is not.
  files = sources(*CODE)
  del files['tests/test_layers.py']
  found = violations(libraries_show_what_is_used, files)
  assert not found, '\n'.join(found)


def test_files_are_short():
  counts = {
    path: len(text.splitlines())
    for path, text in sources(PACKAGE, 'configs', 'experiments').items()
  }
  found = {path: n for path, n in counts.items() if n > MAX_FILE_LINES}
  assert not found, f'more than {MAX_FILE_LINES} lines: {found}'


def test_every_unit_of_the_layers_exists():
  here = {path.stem for path in (ROOT / PACKAGE).iterdir()}
  missing = set(RANKS) - here
  assert not missing, f'in ROWS of this file, not in {PACKAGE}/: {missing}'


def test_every_folder_has_a_layer():
  folders = {file.parent.name for file in (ROOT / PACKAGE).glob('*/*.py')}
  missing = folders - set(RANKS)
  assert not missing, f'give it a row in ROWS of this file: {missing}'


def listed(text: str) -> Iterator[str]:
  """Paths of the files in the layer map, in order."""
  text = text.partition('\n## Layers\n')[2].partition('\n## ')[0]
  folder = ''
  for line in re.findall(r'^    .*', text, re.MULTILINE):
    # A layer begins with files of the package itself, or names a folder.
    if re.match(r'    L\d ', line):
      folder = ''
    for below, name in re.findall(r'(?<![\w/])(\w+/)?(\w+\.py)?', line):
      folder = below or folder
      if name:
        yield f'{PACKAGE}/{folder}{name}'


def test_map_has_every_file_once():
  found = list(listed((ROOT / 'WORKSPACE.md').read_text('utf-8')))
  files = {p for p in sources(PACKAGE) if not p.endswith('/__init__.py')}
  assert files - set(found) == set(), 'not in the map'
  assert set(found) - files == set(), 'no such file'
  assert len(found) == len(set(found)), 'twice in the map'


def test_map_is_read_by_layers_and_folders():
  text = '\n## Layers\nA c.py\n    L0 a.py  b\n    L1 d/a.py b.py\n    L2 c.py'
  paths = [f'{PACKAGE}/{name}' for name in ('a.py', 'd/a.py', 'd/b.py', 'c.py')]
  assert list(listed(f'{text}\n\n## Rest\n    L3 z.py')) == paths


def test_text_has_no_machine_paths_and_no_silenced_checks():
  found = [
    f'{path}:{number}: {match[0]}'
    for path, text in texts().items()
    for number, line in enumerate(text.splitlines(), 1)
    if (match := UNWANTED.search(line))
  ]
  assert not found, '\n'.join(found)


BROKEN = (
  (imports_point_down, 'nn/mlp.py', 'from dreamer_nnx.agent import build'),
  (imports_point_down, 'nn/mlp.py', 'from dreamer_nnx import training'),
  (imports_point_down, 'nn/mlp.py', 'from ..heads import discrete'),
  (imports_point_down, 'heads/a.py', 'import dreamer_nnx.encoders.simple'),
  (imports_point_down, 'nn/mlp.py', 'def f():\n  import dreamer_nnx.config'),
  (imports_point_down, 'config.py', 'from dreamer_nnx import main'),
  (agent_is_handed_its_parts, 'agent/a.py', 'from dreamer_nnx import heads'),
  (machinery_stays_home, 'nn/mlp.py', 'import jax\njax.jit(len)'),
  (machinery_stays_home, 'nn/mlp.py', 'from jax import value_and_grad as v'),
  (machinery_stays_home, 'nn/mlp.py', 'from flax import nnx\nnnx.split(1)'),
  (machinery_stays_home, 'agent/agent.py', 'import orbax.checkpoint as ocp'),
  (machinery_stays_home, 'envs/jax_vector.py', 'from jax import grad'),
  (process_is_left_alone, 'config.py', 'import jax\njax.config.update(1, 2)'),
  (process_is_left_alone, 'config.py', 'import os\nos.environ["A"] = "b"'),
  (process_is_left_alone, 'config.py', 'import os\ndel os.environ["A"]'),
  (process_is_left_alone, 'config.py', 'import os\nos.environ.pop("A")'),
  (libraries_show_what_is_used, 'nn/a.py', 'import jax.core'),
  (libraries_show_what_is_used, 'nn/a.py', 'from jax import core'),
  (libraries_show_what_is_used, 'nn/a.py', 'from jax._src import mesh'),
  (libraries_show_what_is_used, 'nn/a.py', 'from flax.nnx import statelib'),
  (libraries_show_what_is_used, 'nn/a.py', 'from jax.experimental import x64'),
  (libraries_show_what_is_used, 'nn/a.py', 'f._cache_size()'),
  (libraries_show_what_is_used, 'nn/a.py', 'e.params["num_consts"]'),
  (libraries_show_what_is_used, 'nn/a.py', 'self._np_random'),
  (docstrings_begin_well, 'nn/a.py', '"""What a layer has."""'),
  (docstrings_begin_well, 'nn/a.py', 'class A:\n  """Those of B."""'),
  (
    docstrings_begin_well,
    'nn/a.py',
    'async def f():\n  """\n  Whether.\n  """',
  ),
  (
    docstrings_begin_well,
    'nn/a.py',
    'class A:\n  def f(self):\n    """Likewise, backwards."""',
  ),
  (functions_are_short, 'config.py', 'def f():' + '\n  x = 1' * 36),
  (names_say_something, 'nn/utils.py', ''),
  (names_say_something, 'common/mlp.py', ''),
)


@pytest.mark.parametrize(
  ('rule', 'path', 'text'), BROKEN, ids=lambda value: str(value)[:30]
)
def test_rule_sees_what_breaks_it(rule, path, text):
  assert len(violations(rule, {f'{PACKAGE}/{path}': text})) == 1


KEPT = (
  (libraries_show_what_is_used, 'nn/a.py', 'from jax.extend import core'),
  (libraries_show_what_is_used, 'nn/a.py', 'import jax\njax.numpy.ones(3)'),
  (libraries_show_what_is_used, 'nn/a.py', 'self._a = 1\nb._a'),
  (libraries_show_what_is_used, 'nn/a.py', 'answer._replace(obs=1)'),
  (imports_point_down, 'heads/a.py', 'from dreamer_nnx.heads import b'),
  (imports_point_down, 'heads/a.py', 'from dreamer_nnx import nn, slots'),
  (imports_point_down, 'main.py', 'from dreamer_nnx import config'),
  (imports_point_down, 'show.py', 'from dreamer_nnx import config'),
  (agent_is_handed_its_parts, 'agent/a.py', 'from dreamer_nnx import slots'),
  (machinery_stays_home, 'training/step.py', 'import jax\njax.jit(len)'),
  (machinery_stays_home, 'envs/jax_vector.py', 'import jax\njax.jit(len)'),
  (machinery_stays_home, 'nn/mlp.py', 'import numpy as np\nnp.split(1, 2)'),
  (process_is_left_alone, 'main.py', 'import os\nos.environ["A"] = "b"'),
  (process_is_left_alone, 'config.py', 'import os\nx = os.environ["A"]'),
  (docstrings_begin_well, 'nn/a.py', '"""Ways of what there is."""'),
  (docstrings_begin_well, 'nn/a.py', 'def f():\n  "`b` of a."\n  x = "What"'),
  (
    functions_are_short,
    'config.py',
    'def f():\n  """A\n' + '\n' * 40 + '  """' + '\n  x = 1' * 35,
  ),
  (names_say_something, 'nn/mlp.py', ''),
)


@pytest.mark.parametrize(
  ('rule', 'path', 'text'), KEPT, ids=lambda value: str(value)[:30]
)
def test_rule_lets_pass_what_keeps_it(rule, path, text):
  assert violations(rule, {f'{PACKAGE}/{path}': text}) == []
