import traceback

import pytest
from absl import flags
from ml_collections import config_flags

from dreamer_nnx import config as configs
from dreamer_nnx import explaining, overrides
from dreamer_nnx.config import ConfigError
from dreamer_nnx.registry import RegistryError
from tests.toys import TREE


def make():
  return configs.generate(TREE)


def refusal(function, *args, **kwargs):
  with pytest.raises((ConfigError, RegistryError)) as error:
    function(*args, **kwargs)
  return str(error.value).splitlines()[0]


@pytest.mark.parametrize(
  ('argv', 'values'),
  [
    (['--config.seed=5'], {'seed': 5}),
    (['-config.seed', '5'], {'seed': 5}),
    (['--config.seed=5', '--config.seed=6'], {'seed': 6}),
    (['--config.train.lr=3e-4'], {'train.lr': 3e-4}),
    (['--config.train.lr=1'], {'train.lr': 1.0}),
    (['--config.train.resume'], {'train.resume': True}),
    (['--config.train.resume=True'], {'train.resume': True}),
    (['--config.train.resume=f'], {'train.resume': False}),
    (['--noconfig.train.resume'], {'train.resume': False}),
    (['--config.encoder.name=resnet'], {'encoder.name': 'resnet'}),
    (['--config.encoder.simple.act=a=b'], {'encoder.simple.act': 'a=b'}),
    (['--config.encoder.simple.mults=5'], {'encoder.simple.mults': (5,)}),
    (['--config.encoder.simple.mults=5,6'], {'encoder.simple.mults': (5, 6)}),
    (['--config.encoder.simple.mults=(5,)'], {'encoder.simple.mults': (5,)}),
    (['--config.encoder.simple.mults='], {'encoder.simple.mults': ()}),
    (['--config.plugins=a,b.c'], {'plugins': ('a', 'b.c')}),
    (['--config.loggers.names=jsonl'], {'loggers.names': ('jsonl',)}),
    (['--config.loggers.names=("jsonl",)'], {'loggers.names': ('jsonl',)}),
    (['--mode=train', '--config=x.py', '--', '--config.seed=5'], {}),
  ],
)
def test_overrides_are_read_by_the_type_of_their_field(argv, values):
  assert repr(overrides.check_overrides(make(), argv, TREE)) == repr(values)


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    (
      '--config.encoder.simple.kernal=3',
      'config.encoder.simple.kernal: SimpleEncoder has no such field. Did you '
      "mean 'kernel'?",
    ),
    (
      '--config.encoder.simple.head.scaled.outscal=3',
      'config.encoder.simple.head.scaled.outscal: Scaled has no such field. '
      "Did you mean 'outscale'?",
    ),
    (
      '--noconfig.train.resum',
      "config.train.resum: Train has no such field. Did you mean 'resume'?",
    ),
    (
      '--config.policy.layer=3',
      'config.policy.layer: Predictor has no such field. Did you mean '
      "'layers'?",
    ),
    (
      '--config.encoder.depth=3',
      "config.encoder.depth: no encoder is named 'depth'. Did you mean "
      "'config.encoder.simple.depth'?",
    ),
    (
      '--config.encoder.sinple.depth=3',
      "config.encoder.sinple.depth: no encoder is named 'sinple'. Did you mean "
      "'simple'?",
    ),
    (
      '--config.encoder.stacked.first.simple.depth=3',
      "config.encoder.stacked.first.simple.depth: 'stacked' is not chosen. Set "
      '--config.encoder.name=stacked, too.',
    ),
    (
      '--config.encoder.resnet.blocks=3',
      "config.encoder.resnet.blocks: 'resnet' is not chosen. Set "
      '--config.encoder.name=resnet, too.',
    ),
    (
      '--config.encoder.stacked.first.name=simple',
      "config.encoder.stacked.first.name: 'stacked' is not chosen. Set "
      '--config.encoder.name=stacked, too.',
    ),
    (
      '--config.policy.head.scaled.outscale=3',
      "config.policy.head.scaled.outscale: 'scaled' is not chosen. Set "
      '--config.policy.head.name=scaled, too.',
    ),
    (
      '--config.blocks=3',
      'config.blocks: there is no such section. Did you mean '
      "'config.encoder.resnet.blocks', with --config.encoder.name=resnet?",
    ),
    (
      '--config.bins=3',
      'config.bins: there is no such section. Did you mean '
      "'config.encoder.simple.head.scaled.bins'?",
    ),
    (
      '--config.simple.depth=3',
      'config.simple.depth: there is no such section. Did you mean '
      "'config.encoder.simple.depth'?",
    ),
    (
      '--config.trian.lr=3',
      "config.trian.lr: there is no such section. Did you mean 'train'?",
    ),
    (
      '--config.lr=3',
      "config.lr: there is no such section. Did you mean 'config.train.lr'?",
    ),
    ('--config.=3', 'config.: there is no such section.'),
    (
      '--config.seed.deep=3',
      'config.seed.deep: config.seed is an int, not a section.',
    ),
    (
      '--config.encoder=resnet',
      'config.encoder: is a section. Set its fields, as in '
      '--config.encoder.name=VALUE.',
    ),
    (
      '--config.train=3',
      'config.train: is a section. Set its fields, as in '
      '--config.train.FIELD=VALUE.',
    ),
    ('--config.train.lr=fast', "config.train.lr = 'fast': must be a float."),
    (
      '--config.seed=1e6',
      "config.seed = '1e6': must be an int, write 1000000.",
    ),
    ('--config.seed=1.5', "config.seed = '1.5': must be an int."),
    ('--config.seed=inf', "config.seed = 'inf': must be an int."),
    (
      '--config.train.resume=maybe',
      "config.train.resume = 'maybe': must be true or false.",
    ),
    (
      '--noconfig.seed',
      '--noconfig.seed: only a bool is switched off this way.',
    ),
    (
      '--config.seed',
      'config.seed: has no value. Write --config.seed=VALUE.',
    ),
    (
      '--config.encoder.simple.mults=a,b',
      "config.encoder.simple.mults[0] = 'a': must be an int.",
    ),
    (
      '--config.encoder.simple.mults=2,b,3',
      "config.encoder.simple.mults[1] = 'b': must be an int.",
    ),
    (
      '--config.encoder.name=resnt',
      "config.encoder.name = 'resnt': no encoder has this name. Did you mean "
      "'resnet'?",
    ),
    (
      '--config.loggers.names=jsonl,terminall',
      "config.loggers.names = 'terminall': no logger has this name. Did you "
      "mean 'terminal'?",
    ),
    (
      '--config.loggers.names=jsonl,jsonl',
      "config.loggers.names = ('jsonl', 'jsonl'): a name comes twice.",
    ),
  ],
)
def test_what_is_wrong_with_an_override_is_said_by_path(argument, message):
  config = make()
  argv = ['--config.policy.units=77', argument]
  assert refusal(overrides.override, config, argv, TREE) == message
  assert config == make()


def test_override_sets_the_values_and_leaves_the_other_arguments():
  config = make()
  argv = [
    'main',
    '--mode=show',
    '--config.seed',
    '5',
    '--config.train.resume',
    'free',
    '--',
    '--config.seed=6',
  ]
  rest = overrides.override(config, argv, TREE)
  assert rest == ['main', '--mode=show', 'free', '--', '--config.seed=6']
  assert (config.seed, config.train.resume) == (5, True)
  assert config.is_locked


BRANCHES = [
  [
    '--config.encoder.Unregistered.depth=9',
    '--config.encoder.name=tests.toys:Unregistered',
  ],
  [
    '--config.encoder.stacked.first.simple.head.scaled.bins=1',
    '--config.encoder.stacked.first.name=simple',
    '--config.encoder.name=stacked',
  ],
  ['--config.loggers.jsonl.name=a', '--config.loggers.names=jsonl'],
]


@pytest.mark.parametrize('argv', BRANCHES)
@pytest.mark.parametrize('order', [1, -1])
def test_a_name_brings_its_branch_for_flags_in_any_order(argv, order):
  config = make()
  overrides.override(config, argv[::order], TREE)
  found = configs.leaves(configs.resolve(config, TREE))
  path, _, value = argv[0].removeprefix('--config.').partition('=')
  assert str(found[path]).strip('(,)') == value


def test_a_logger_that_is_left_out_is_not_chosen():
  argv = ['--config.loggers.names=terminal', '--config.loggers.jsonl.name=a']
  assert refusal(overrides.override, make(), argv, TREE) == (
    "config.loggers.jsonl.name: 'jsonl' is not chosen. Set "
    "--config.loggers.names='terminal,jsonl', too."
  )


def test_a_part_whose_name_a_flag_replaces_is_not_chosen():
  config = make()
  with config.unlocked():
    config.encoder.name = 'tests.toys:Unregistered'
    config.encoder.Unregistered = {'depth': 3}
  argv = ['--config.encoder.Unregistered.depth=4']
  overrides.override(config, argv, TREE)
  argv.append('--config.encoder.name=simple')
  assert refusal(overrides.override, config, argv, TREE) == (
    "config.encoder.Unregistered.depth: 'Unregistered' is not chosen, but "
    "'simple'."
  )


def test_what_a_file_sets_in_a_branch_that_a_flag_leaves_is_dropped():
  config = make()
  configs.apply(config, {'encoder.simple.depth': 77, '**.units': 3}, tree=TREE)
  overrides.override(config, ['--config.encoder.name=resnet'], TREE)
  encoder = configs.resolve(config, TREE).encoder.to_dict()
  assert encoder == {'name': 'resnet', 'resnet': {'blocks': 2, 'units': 3}}


@pytest.mark.parametrize(
  ('text', 'value'),
  [
    ('a=["S, F", "HG"],b=3', ('a=["S, F", "HG"]', 'b=3')),
    ('desc=["SF","HG"]', ('desc=["SF","HG"]',)),
    ("x={'a': (1, 2)}, y='p,q'", ("x={'a': (1, 2)}", "y='p,q'")),
    ('(a, b)', ('a', 'b')),
    ('[a,b]', ('a', 'b')),
    ('(a)', ('a',)),
    ('f(1,2)', ('f(1,2)',)),
    ("a='b", ("a='b",)),
    ('a,,b,', ('a', 'b')),
  ],
)
def test_commas_within_brackets_and_quotes_belong_to_the_value(text, value):
  values = overrides.check_overrides(make(), [f'--config.plugins={text}'], TREE)
  assert values == {'plugins': value}


def test_flags_of_ml_collections_mean_the_same(tmp_path):
  file = tmp_path / 'toy.py'
  file.write_text(
    'from dreamer_nnx import config\n'
    'from tests.toys import TREE\n\n'
    'def get_config(arg="0"):\n'
    '  result = config.generate(TREE)\n'
    '  result.seed = int(arg)\n'
    '  return result\n',
    encoding='utf-8',
  )
  argv = [
    'main',
    f'--config={file}:7',
    '--config.encoder.name=resnet',
    '--config.encoder.resnet.blocks=5',
    '--config.train.lr=1',
    '--noconfig.train.resume',
  ]
  values = flags.FlagValues()
  theirs = config_flags.DEFINE_config_file(
    'config', flag_values=values, sys_argv=argv
  )
  values(argv)
  ours = overrides.load_file(f'{file}:7')
  overrides.override(ours, argv, TREE)
  assert ours == theirs.value
  assert ours.seed == 7
  assert overrides.load_file(str(file)) == make()


@pytest.mark.parametrize(
  ('argv', 'plugins'),
  [
    ([], ()),
    (['--config.plugins=mine'], ('mine',)),
    (['--config.plugins=mine, yours.too'], ('mine', 'yours.too')),
    (['--config.plugins', 'mine,yours'], ('mine', 'yours')),
    (["--config.plugins=('mine', 'yours')"], ('mine', 'yours')),
    (['--config.plugins=a', '--config.seed=3', '--config.plugins=b'], ('b',)),
    (['--config.plugins='], ()),
    (['--', '--config.plugins=mine'], ()),
  ],
)
def test_plugins_are_found_before_there_is_a_config(argv, plugins):
  assert overrides.plugins_from_argv(['main', *argv]) == plugins


def test_what_is_no_config_file_is_said(tmp_path):
  missing = f'{tmp_path}/none.py'
  assert refusal(overrides.load_file, f'{missing}:12m') == (
    f"--config = '{missing}:12m': there is no file '{missing}'."
  )
  text = tmp_path / 'notes.txt'
  text.write_text('x = 3', encoding='utf-8')
  assert refusal(overrides.load_file, str(text)) == (
    f"--config = '{text}': '{text}' is not a Python file."
  )
  empty = tmp_path / 'empty.py'
  empty.write_text('x = 3', encoding='utf-8')
  assert refusal(overrides.load_file, str(empty)) == (
    f"--config = '{empty}': {empty} has no get_config()."
  )
  wrong = tmp_path / 'wrong.py'
  wrong.write_text('get_config = dict', encoding='utf-8')
  assert refusal(overrides.load_file, str(wrong)) == (
    f"--config = '{wrong}': get_config() returned a dict, not a ConfigDict."
  )


@pytest.mark.parametrize(
  ('text', 'argument', 'message'),
  [
    ('def get_config(): return 3', ':12m', 'takes no argument.'),
    ('def get_config(x): return 3', '', 'needs an argument, FILE:ARG.'),
    (
      'from dreamer_nnx import config\n'
      'from tests.toys import TREE\n\n'
      'def get_config():\n'
      '  result = config.generate(TREE)\n'
      '  result.train.stepps = 4',
      '',
      "there is no field 'stepps' to set or read. Did you mean 'steps'?",
    ),
  ],
)
def test_a_mistake_in_a_config_file_is_one_message(
  text, argument, message, tmp_path
):
  file = tmp_path / 'mistaken.py'
  file.write_text(text, 'utf-8')
  name = f'{file}{argument}'
  error = refusal(overrides.load_file, name)
  assert error.startswith(f'--config = {name!r}: ')
  assert error.endswith(message)


@pytest.mark.parametrize(
  ('text', 'kind'),
  [
    ('def get_config(): return 1 / 0', ZeroDivisionError),
    ('get_config = 1 /', SyntaxError),
    ("open('nowhere')", RuntimeError),
  ],
)
def test_a_fault_in_a_config_file_keeps_its_traceback(text, kind, tmp_path):
  file = tmp_path / 'faulty.py'
  file.write_text(text, 'utf-8')
  with pytest.raises(kind) as error:
    overrides.load_file(str(file))
  shown = ''.join(traceback.format_exception(error.value))
  assert f"while loading --config = '{file}'" in shown
  assert f'"{file}"' in shown


def test_a_config_file_is_looked_for_from_the_folder_given(tmp_path):
  text = 'from ml_collections import ConfigDict as get_config'
  (tmp_path / 'plain.py').write_text(text, 'utf-8')
  assert not overrides.load_file('plain.py', tmp_path)


def unknown_set():
  make().train.stepps = 3


def unknown_read():
  return make().train.stepps


def unlike_anything():
  return make().xyzzy


def wrong_type():
  make().train.steps = 1.5


def of_its_own():
  configs.base('13mm', tree=TREE)


def moved_set():
  make().retnorm.name = 'none'


@pytest.mark.parametrize(
  ('function', 'message'),
  [
    (
      moved_set,
      "config: there is no field 'retnorm' to set or read. It is "
      "'behavior.actor_critic.retnorm' now.",
    ),
    (
      unknown_set,
      "config: there is no field 'stepps' to set or read. Did you mean "
      "'steps'?",
    ),
    (
      unknown_read,
      "config: there is no field 'stepps' to set or read. Did you mean "
      "'steps'?",
    ),
    (unlike_anything, "config: there is no field 'xyzzy' to set or read."),
    (wrong_type, 'config: steps = 1.5: must be of type int.'),
    (
      of_its_own,
      "size = '13mm': no such size. Did you mean '1m'? Known: 1m, 12m, 25m, "
      '50m, 100m, 200m, 400m.',
    ),
  ],
)
def test_errors_of_a_config_file_are_put_in_our_words(function, message):
  with pytest.raises((AttributeError, TypeError, ValueError)) as error:
    function()
  assert explaining.explain(error.value) == message


def test_errors_of_flags_are_explained(tmp_path):
  file = tmp_path / 'toy.py'
  file.write_text(
    'from dreamer_nnx.registry import RegistryError\n'
    'def get_config():\n'
    "  raise RegistryError('config.a: wrong.\\nRegistered: b.')\n",
    encoding='utf-8',
  )
  argv = ['main', f'--config={file}']
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
  with pytest.raises(flags.Error) as error:
    values(argv)
  assert explaining.explain(error.value) == 'config.a: wrong.\nRegistered: b.'
  flags.DEFINE_integer('count', 1, 'How many.', flag_values=values)
  with pytest.raises(flags.Error) as error:
    values(['main', '--count=x'])
  assert explaining.explain(error.value).startswith("--count = 'x': ")


@pytest.mark.parametrize(
  ('error', 'message'),
  [
    (ConfigError('config.a = 3: must be 4.'), 'config.a = 3: must be 4.'),
    (KeyError('no such thing'), 'no such thing'),
    (ZeroDivisionError(), 'ZeroDivisionError'),
  ],
)
def test_other_errors_keep_their_words(error, message):
  assert explaining.explain(error) == message
