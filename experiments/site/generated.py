"""Pages made of the registry and the signatures; nothing is built.

Names, defaults, ranges and meanings are those of `dreamer_nnx.listing`, which
`--mode=list` prints.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx import listing, meanings
from dreamer_nnx.listing import Field, Place
from dreamer_nnx.registry import Choice, Choices, Part, Slot
from dreamer_nnx.slots import SLOTS
from experiments.site.markdown import code, escaped, table, text_of

FIELD = ('field', 'default', 'range', 'meaning')
SLOT_INDEX, CONFIG, API = 'slots/index.md', 'reference/config.md', 'api.md'
# What is public, by the heading it stands below; the rest is for authors.
PUBLIC = {
  'Use': (
    'dreamer_nnx.loading.load_config',
    'dreamer_nnx.run.Run',
    'dreamer_nnx.run.saved_config',
    'dreamer_nnx.policy.load_policy',
    'dreamer_nnx.dreams.load_world_model',
    'dreamer_nnx.errors.UserError',
  ),
  'Configs': (
    'dreamer_nnx.config',
    'dreamer_nnx.overrides',
    'dreamer_nnx.presets',
  ),
  'Components': (
    'dreamer_nnx.registry',
    'dreamer_nnx.schema',
    'dreamer_nnx.signatures',
    'dreamer_nnx.contracts.agent',
    'dreamer_nnx.contracts.run',
    'dreamer_nnx.contracts.records',
    'dreamer_nnx.testing',
  ),
  'One step at a time': (
    'dreamer_nnx.workflow',
    'dreamer_nnx.training.step',
    'dreamer_nnx.training.loop',
  ),
  'Diagnosis': (
    'dreamer_nnx.diagnosis.checkup',
    'dreamer_nnx.report.sections',
  ),
}


def pages() -> dict[str, str]:
  """Path in the site to Markdown."""
  places = listing.places(configs.generate())
  by_slot = {page_of(slot): slot_page(slot, places) for slot in SLOTS}
  return by_slot | {
    SLOT_INDEX: slot_index(places),
    CONFIG: config_page(),
    API: api_page(),
  }


def page_of(slot: Slot) -> str:
  """The path in the site of the page of a slot."""
  return f'slots/{slot.name}.md'


def slot_index(places: list[Place]) -> str:
  """The Markdown of the page that leads to all slots."""
  rows = [
    (
      f'[{code(slot.name)}]({slot.name}.md)',
      escaped(listing.makes(slot)),
      code(listing.where_chosen(slot, places).removesuffix(' and others')),
      ', '.join(f'[{code(x)}]({slot.name}.md#{x})' for x in slot.names()),
    )
    for slot in SLOTS
  ]
  text = (
    'Every slot, the field that chooses of it, and what is registered there. '
    'The pages are made of the registry and of the docstrings; '
    '[components](../components.md) says how they work.'
  )
  columns = 'slot', 'what it makes', 'chosen by', 'registered'
  return f'# All slots\n\n{text}\n\n{table(columns, rows)}\n'


def slot_page(slot: Slot, places: list[Place]) -> str:
  """The Markdown of a slot: its contract, and a section for each component."""
  where = listing.where_chosen(slot, places)
  path, *others = where.split(' ', 1)
  contract = f'{slot.builds.__module__}.{slot.builds.__qualname__}'
  parts = [
    f'# {slot.name}',
    escaped(listing.makes(slot)),
    f'Chosen by {code(path)} {" ".join(others)}'.strip() + '. '
    f'Given: {", ".join(map(code, slot.given)) or "nothing"}. '
    f'Contract: [{code(contract)}][{contract}].',
  ]
  if not slot.names():
    parts.append('None is built in.')
  base = path.rpartition('.')[0]
  for name in slot.names():
    parts += component(Choice(slot, name), name, f'{base}.{name}')
  return '\n\n'.join(parts) + '\n'


def component(choice: Choice, name: str, path: str) -> Iterator[str]:
  """Paragraphs of a registered component."""
  builder = choice.builder
  yield f'## {name}'
  yield text_of(builder.__doc__)
  errors = meanings.entries(builder.__doc__, 'Raises').items()
  if errors:
    yield 'Errors:'
    yield '\n'.join(f'- {code(name)}: {escaped(x)}' for name, x in errors)
  yield f'In {code(f"{builder.__module__}.{builder.__qualname__}")}.'
  fields = list(listing.fields_of(choice))
  yield field_table(fields, f'{path}.') if fields else 'It has no fields.'


def field_table(fields: Iterable[Field], prefix: str) -> str:
  """A table of fields with their full paths."""
  return table(FIELD, (row(field, prefix) for field in fields))


def row(field: Field, prefix: str) -> tuple[str, ...]:
  """Path, default, range and meaning of a field."""
  name, default, limit = listing.shown(field)
  limit = escaped(limit)
  if isinstance(field.default, Choice | Choices):
    slot = field.default.slot.name
    limit = limit.replace(slot, f'[{slot}](../slots/{slot}.md)', 1)
  meaning = escaped(field.meaning or listing.UNSAID)
  return code(prefix + name), code(default), limit, meaning


def config_page() -> str:
  """The Markdown of the sections of the config and their fields."""
  text = (
    'All sections of a config. The table of each is made of the signature that '
    'its numbers stand in, as `--mode=list` is. Sections that choose a '
    'component lead to the page of its slot, where its fields are.'
  )
  parts = ['# Config reference', text]
  said = listing.of_sections()
  for name, spec in configs.sections().items():
    parts += [f'## {name}', *section(name, spec, said[name])]
  return '\n\n'.join(parts) + '\n'


def section(name: str, spec: Any, meaning: str) -> Iterator[str]:
  """Paragraphs of a section of the config."""
  if isinstance(spec, Choice | Choices):
    field = Field(name, spec, (), meaning)
    yield field_table([field], 'config.')
  elif isinstance(spec, Part):
    yield escaped(meaning)
    yield field_table(listing.of_section(name, spec), f'config.{name}.')
  else:
    yield field_table(listing.of_section(name, spec), 'config.')


def api_page() -> str:
  """The Markdown of the API; its docstrings are put in when it is built."""
  parts = [
    '# API',
    'What is public in Python, from the docstrings. [Python](python.md) shows '
    'how it is used, and [components](components.md) how parts are written.',
  ]
  for title, names in PUBLIC.items():
    parts += [f'## {title}', *(f'::: {name}' for name in names)]
  return '\n\n'.join(parts) + '\n'
