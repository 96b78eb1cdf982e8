import pytest

from dreamer_nnx.registry import Choice, RegistryError
from dreamer_nnx.schema import cast, fields, pick, suggest
from tests import toys
from tests.toys import ENCODER, HEAD


def refusal(function, *args, **kwargs):
  with pytest.raises(RegistryError) as error:
    function(*args, **kwargs)
  return str(error.value)


def test_fields_are_the_keyword_only_arguments_that_are_not_given():
  assert fields(toys.SimpleEncoder, ENCODER.given) == {
    'depth': 4,
    'kernel': 3,
    'rate': 0.5,
    'mults': (2, 3),
    'act': 'silu',
    'bias': True,
    'head': Choice(HEAD, 'scaled', outscale=0.5),
  }


def test_all_fields_of_a_dataclass_with_defaults_are_fields():
  assert fields(toys.Scaled) == {'outscale': 1.0, 'bins': (5, 7)}


def test_a_class_without_init_has_no_fields():
  assert fields(toys.BrokenEncoder, ENCODER.given) == {}


def var_keywords(size, *, depth=1, **kw): ...
def var_positional(*sizes): ...
def positional_only(size, /): ...
def no_default(size, *, depth): ...
def positional(size, depth=3): ...
def none(size, *, path=None): ...
def binary(size, *, path=b''): ...
def nested(size, *, heads=(Choice(HEAD, 'plain'),)): ...


@pytest.mark.parametrize(
  ('builder', 'message'),
  [
    (var_keywords, '**kw would swallow typos; name every argument.'),
    (var_positional, '*sizes would swallow typos; name every argument.'),
    (positional_only, 'size is passed by keyword; move it behind the `/`.'),
    (
      no_default,
      'depth is not given to this slot and has no default; give it one, or '
      'take one of: size.',
    ),
    (
      positional,
      'depth is a config field; move it behind the `*` so that it is '
      'keyword-only.',
    ),
    (
      none,
      'path has the default None, which has no type; write a value of its '
      "type that stands for none, such as 0, 0.0, '' or ().",
    ),
    (
      binary,
      'path defaults to a bytes; a config holds bool, int, float, str, tuples '
      'of these, Choice, Choices and Part.',
    ),
    (
      nested,
      'heads defaults to a tuple; a config holds bool, int, float, str, '
      'tuples of these, Choice, Choices and Part.',
    ),
  ],
)
def test_what_is_no_schema_is_refused(builder, message):
  where = f'{__name__}.{builder.__name__}'
  error = refusal(fields, builder, ('size',))
  assert error == f'{where}: argument {message}'


@pytest.mark.parametrize(
  ('value', 'default', 'result'),
  [
    (3, 0.5, 3.0),
    ([1, 2], (0,), (1, 2)),
    ((), (1, 2), ()),
    ([3, 0.5], (1, 0.25, 2), (3.0, 0.5)),
    (['a', 2], ('b', 1), ('a', 2)),
    ([[1, 2, 3], [4]], ((0, 0),), ((1, 2, 3), (4,))),
    ([['a', 1], True], (), (('a', 1), True)),
  ],
)
def test_cast_gives_the_type_of_the_default(value, default, result):
  # The repr tells 3.0 from 3, and tuples from lists at every depth.
  assert repr(cast(value, default, 'x')) == repr(result)


@pytest.mark.parametrize(
  ('value', 'default', 'message'),
  [
    (('a', 2, 3), ('b', 1), "x = ('a', 2, 3): must have 2 elements."),
    ((None,), (), 'x = (None,): must be a tuple of bool, int, float or str.'),
    (None, '', 'x = None: must be a str.'),
  ],
)
def test_cast_refuses_other_types(value, default, message):
  assert refusal(cast, value, default, 'x') == message


def test_suggestions_are_near():
  assert suggest('resnt', ['resnet', 'simple']) == " Did you mean 'resnet'?"
  assert suggest('transformer', ['resnet', 'simple']) == ''


def test_pick_finds_or_suggests():
  table = {'silu': 11, 'relu': 12}
  assert pick(table, 'relu', 'act') == 12
  with pytest.raises(ValueError) as error:
    pick(table, 'sulu', 'config.encoder.simple.act')
  assert str(error.value) == (
    "config.encoder.simple.act = 'sulu': no such name. Did you mean 'silu'? "
    "Known: 'relu', 'silu'."
  )
