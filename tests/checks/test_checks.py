"""Every mistake in a component is one message, that says where and what."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx import checks, contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs
from tests.testing import parts

OBS = {
  'image': gs.Box(0, 255, (4, 4, 3), np.uint8),
  'position': gs.Box(-np.inf, np.inf, (3,), np.float32),
}
ACTIONS = {
  'button': gs.Discrete(3),
  'force': gs.Box(-1, 1, (2,), np.float32),
}
FEAT = {'state': 4}
PATH = 'config.slot.mine'
FLOAT = jnp.float32
PRECISION = Precision('float32')


def given(**more):
  return dict(precision=PRECISION, rngs=nnx.Rngs(0)) | more


def refused(text, check, *args):
  """Asserts that a check raises one message with these words."""
  with pytest.raises(UserError) as caught:
    check(*args)
  message = str(caught.value)
  assert message.startswith(f'{PATH}: '), message
  for part in text.split(' ... '):
    assert part in message, message
  return message


def variant(slot, **methods):
  """The template of a slot with other methods."""
  base = parts.component(slot)
  return type('Variant', (base,), methods)


class TestEncoder:
  def check(self, **methods):
    encoder = variant('encoder', **methods)(OBS, units=4, **given())
    checks.check_encoder(encoder, OBS, PATH)

  def test_template_is_taken(self):
    self.check()

  def test_token_size_is_not_the_outputs(self):
    def init(self, obs_space, *, units, precision, rngs):
      base = parts.component('encoder')
      base.__init__(
        self, obs_space, units=units, precision=precision, rngs=rngs
      )
      self.token_size = 9

    text = 'promised (2, 9) of floats, got (2, 4) float32'
    refused(text, lambda: self.check(__init__=init))

  @pytest.mark.parametrize('size', [0, 4.0, True, '4'])
  def test_token_size_is_no_count(self, size):
    class Bad:
      token_size = size

      def __call__(self, obs):
        return obs['position']

    refused('token_size', checks.check_encoder, Bad(), OBS, PATH)

  def test_one_batch_axis_by_shape(self):
    base = parts.component('encoder').__call__

    def call(self, obs):
      return base(self, obs).reshape(2, -1)

    text = 'tokens of (2, 3) observations ... promised (2, 3, 4)'
    refused(text, lambda: self.check(__call__=call))

  def test_one_batch_axis_by_error(self):
    base = parts.component('encoder').__call__

    def call(self, obs):
      _rows, _size = obs['position'].shape
      return base(self, obs)

    text = 'any number of leading batch axes ... (2, 3) raised ValueError'
    refused(text, lambda: self.check(__call__=call))

  def test_uint8_is_not_cast(self):
    class Raw:
      token_size = 48

      def __call__(self, obs):
        return obs['image'].reshape(*obs['image'].shape[:-3], -1)

    text = 'of floats, got (2, 48) uint8'
    refused(text, checks.check_encoder, Raw(), OBS, PATH)

  def test_returns_no_array(self):
    text = 'promised (2, 4) of floats, got the keys image, position'
    refused(text, lambda: self.check(__call__=lambda self, obs: obs))

  def test_error_keeps_its_traceback_and_names_the_component(self):
    def call(self, obs):
      return obs['nothing']

    with pytest.raises(KeyError) as caught:
      self.check(__call__=call)
    assert any(PATH in note for note in caught.value.__notes__)

  def test_goes_inside_another_trace(self):
    jax.eval_shape(lambda: self.check())
    text = 'promised (2, 4) of floats, got'
    bad = lambda: self.check(__call__=lambda self, obs: obs['position'])
    refused(text, jax.eval_shape, bad)

  def test_changes_nothing_of_the_module(self):
    class Count(nnx.Variable):
      pass

    base = parts.component('encoder')

    class Counting(base):
      def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = Count(jnp.zeros(()))

      def __call__(self, obs):
        self.calls[...] += 1
        return super().__call__(obs)

    encoder = Counting(OBS, units=4, **given())
    checks.check_encoder(encoder, OBS, PATH)
    assert encoder.calls[...] == 0


def observed(change, of='step'):
  """A method `of` dynamics whose Observed is changed."""
  base = getattr(parts.component('dynamics'), of)

  def method(self, *args):
    carry, seen = base(self, *args)
    return carry, change(seen)

  return method


def replaced(**fields):
  return lambda seen: dataclasses.replace(
    seen, **{k: change(getattr(seen, k)) for k, change in fields.items()}
  )


def dynamics(methods, attributes=()):
  made = variant('dynamics', **methods)(5, ACTIONS, units=4, **given())
  for name, value in dict(attributes).items():
    setattr(made, name, value)
  return made


swap = lambda tree: jax.tree.map(lambda x: x.swapaxes(0, 1), tree)
Dynamics = parts.component('dynamics')

BAD_DYNAMICS = {
  'losses without metrics': (
    {'losses': lambda self, seen: {'tokens': seen.extra['error']}},
    'the tuple (losses, metrics), got the keys tokens',
  ),
  'scalar losses': (
    {'losses': lambda self, seen: ({'x': seen.extra['error'].mean()}, {})},
    "loss 'x' of `losses`: promised (2, 3) of floats, got () float32",
  ),
  'metrics of steps': (
    {'losses': lambda self, seen: ({}, {'x': seen.extra['error']})},
    "metric 'x' of `losses`: promised (), got (2, 3) float32",
  ),
  'time-major observe': (
    {'observe': observed(swap, 'observe')},
    "feat of `observe`['state']: promised (2, 3, 4) float32, got (3, 2, 4)",
  ),
  'step returns features': (
    {'step': lambda self, carry, *rest: carry},
    '`step`: promised the tuple (carry, observed)',
  ),
  'observed is a dict': (
    {'step': observed(lambda seen: {'feat': seen.feat})},
    'promised a contracts.Observed, got the keys feat',
  ),
  'features of another size': (
    {'step': observed(replaced(feat=lambda x: {'state': x['state'][:, :2]}))},
    "feat of `step`['state']: promised (2, 4) float32, got (2, 2)",
  ),
  'features of another name': (
    {'step': observed(replaced(feat=lambda x: {'deter': x['state']}))},
    'feat of `step`: promised the keys state, got the keys deter',
  ),
  'features in another format': (
    {
      'step': observed(
        replaced(feat=lambda x: {'state': x['state'].astype(jnp.float16)})
      )
    },
    'promised (2, 4) float32, got (2, 4) float16',
  ),
  'entry of another shape': (
    {'step': observed(replaced(entry=lambda x: {'state': x['state'][:, :1]}))},
    "entry of `step`['state']: promised (2, 4) float32, got (2, 1)",
  ),
  'entry in another format': (
    {
      'step': observed(
        replaced(entry=lambda x: {'state': x['state'].astype(jnp.int8)})
      )
    },
    "entry of `step`['state']: promised (2, 4) float32, got (2, 4) int8",
  ),
  'entry of another name': (
    {'step': observed(replaced(entry=lambda x: {}))},
    'entry of `step`: promised the keys state, got no keys',
  ),
  'extra without rows': (
    {'step': observed(replaced(extra=lambda x: {'error': jnp.zeros(5)}))},
    "extra of `step`['error']: promised an array (2, ...)",
  ),
  'empty carry': (
    {'initial': lambda self, rows: {}},
    '`initial(2)`: promised a carry of one array at least, got',
  ),
  'carry without rows': (
    {
      'initial': lambda self, rows: (
        Dynamics.initial(self, rows) | {'t': jnp.zeros((), int)}
      )
    },
    "`initial(2)`['t']: promised an array (2, ...), got () int32",
  ),
  'typed keys in the carry': (
    {
      'initial': lambda self, rows: (
        Dynamics.initial(self, rows)
        | {'key': jax.random.split(jax.random.key(0), rows)}
      )
    },
    'promised no typed keys in a carry',
  ),
  'step changes the carry': (
    {
      'step': lambda self, *args: (
        Dynamics.step(self, *args)[0] | {'t': args[0]['state']},
        Dynamics.step(self, *args)[1],
      )
    },
    'carry of `step`: promised the structure of the one given',
  ),
  'predict returns features': (
    {'predict': lambda self, *args: Dynamics.predict(self, *args)[1]},
    '`predict` from a carry: promised the tuple (carry, feat)',
  ),
  'predict changes the carry': (
    {
      'predict': lambda self, *args: (
        Dynamics.predict(self, *args)[0]['state'],
        Dynamics.predict(self, *args)[1],
      )
    },
    'carry of `predict` from a carry: promised the structure of',
  ),
  'predict without features': (
    {'predict': lambda self, *args: (Dynamics.predict(self, *args)[0], {})},
    'feat of `predict` from a carry: promised the keys state, got no keys',
  ),
  'starts of all steps': (
    {'starts': lambda self, carry, seen, count: Dynamics.starts(
      self, carry, seen, 3
    )},
    "2 rows: promised an array (4, ...) at least, got (6, 4) float32",
  ),
  'starts of single rows': (
    {'starts': lambda self, carry, seen, count: carry},
    '`starts`',
  ),
  'resume of another structure': (
    {'resume': lambda self, context: context.entry['state'][:, -1]},
    '`resume`: promised the structure of `initial`',
  ),
  'resume with time': (
    {'resume': lambda self, context: context.entry},
    "`resume`['state']: promised (2, 4) float32 as `initial`, got (2, 1, 4)",
  ),
}  # fmt: skip

BAD_ATTRIBUTES = {
  'context below 0': ({'context': -1}, 'context: promised an int of 0 or more'),
  'context no int': ({'context': 1.0}, 'context: promised an int of 0 or more'),
  'no features': ({'feat_space': {}}, 'feat_space: promised one vector'),
  'feature of a shape': (
    {'feat_space': {'state': (4,)}},
    "feat_space['state']: promised an int of 1 or more, got a tuple of 1",
  ),
  'entry of a shape': (
    {'entry_space': {'state': (4,)}},
    "entry_space['state']: promised a jax.ShapeDtypeStruct",
  ),
}


class TestDynamics:
  def check(self, methods=(), attributes=()):
    made = dynamics(dict(methods), attributes)
    return checks.check_dynamics(made, 5, ACTIONS, FLOAT, PATH)

  def test_template_is_taken(self):
    seen = self.check()
    assert seen.observed.feat['state'].shape == (2, 3, 4)
    assert seen.carry['state'].shape == (2, 4)

  @pytest.mark.parametrize('mistake', BAD_DYNAMICS)
  def test_mistake_is_named(self, mistake):
    methods, text = BAD_DYNAMICS[mistake]
    refused(text, self.check, methods)

  @pytest.mark.parametrize('mistake', BAD_ATTRIBUTES)
  def test_wrong_attribute_is_named(self, mistake):
    attributes, text = BAD_ATTRIBUTES[mistake]
    refused(text, self.check, {}, attributes)

  def test_context_may_be_zero(self):
    self.check({'resume': lambda self, context: 1 / 0}, {'context': 0})

  def test_starts_may_keep_one_prefix_a_sequence(self):
    def starts(self, carry, seen, count):
      return Dynamics.starts(self, carry, seen, count) | {'window': carry}

    def predict(self, carry, action, key):
      window = {k: x for k, x in carry.items() if k == 'window'}
      new, feat = Dynamics.predict(self, carry, action, key)
      return new | window, feat

    self.check({'starts': starts, 'predict': predict})


class TestOutputs:
  SPACE = OBS['position']

  def check(self, output, space=SPACE, needs=checks.LEARNED):
    checks.check_head(lambda x: output(x), 4, space, FLOAT, PATH, needs)

  def test_head_is_taken(self):
    self.check(lambda x: outputs.event(outputs.MSE(x[..., :3]), 1))

  def test_head_returns_an_array(self):
    text = 'a distribution with `pred`, `loss`, got (2, 3, 4) float32'
    refused(text, self.check, lambda x: x)

  def test_head_keeps_an_axis(self):
    bad = lambda x: outputs.MSE(x[..., :1])
    text = '`pred` of the output: promised (2, 3), got (2, 3, 1)'
    refused(text, self.check, bad, gs.Box(-1, 1, (), np.float32))

  def test_loss_keeps_an_axis(self):
    bad = lambda x: outputs.MSE(x[..., :3])
    text = '`loss` of the output: promised (2, 3) of floats, got (2, 3, 3)'
    refused(text, self.check, bad)

  @pytest.mark.parametrize('lacks', ['pred', 'entropy'])
  def test_head_lacks(self, lacks):
    class Lacking:
      def __init__(self, x):
        names = {'pred', 'sample', 'logp', 'entropy'} - {lacks}
        for name in names:
          setattr(self, name, lambda *args: x)

    text = f'a distribution with `{lacks}`, got a Lacking'
    args = Lacking, self.SPACE, checks.ACTED
    refused(text, self.check, *args)

  def test_predictor_reads_features(self):
    predict = lambda feat: outputs.MSE(feat['state'][..., 0])
    scalar = gs.Box(-1, 1, (), np.float32)
    args = FEAT, scalar, FLOAT, PATH
    checks.check_predictor(predict, *args)
    bad = lambda feat: outputs.MSE(feat['state'])
    refused(
      'promised (2, 3), got (2, 3, 4)', checks.check_predictor, bad, *args
    )

  def decode(self, decode):
    space = {'position': self.SPACE}
    checks.check_decoder(decode, FEAT, space, FLOAT, PATH)

  def test_decoder_is_taken(self):
    good = lambda feat: outputs.event(outputs.MSE(feat['state'][..., :3]), 1)
    self.decode(lambda feat: {'position': good(feat)})
    self.decode(lambda feat: {})

  def test_decoder_with_a_wrong_key(self):
    bad = lambda feat: {'place': outputs.MSE(feat['state'][..., :3])}
    text = 'the keys position or some of them, got the keys place'
    refused(text, self.decode, bad)

  def test_decoder_with_a_wrong_shape(self):
    bad = lambda feat: {'position': outputs.MSE(feat['state'])}
    text = "the output 'position' of (2,) features: promised (2, 3), got (2, 4)"
    refused(text, self.decode, bad)

  def test_decoder_with_one_batch_axis(self):
    def bad(feat):
      _rows, _size = feat['state'].shape
      output = outputs.MSE(feat['state'][:, :3])
      return {'position': outputs.event(output, 1)}

    refused('any number of leading batch axes', self.decode, bad)

  def test_decoder_returns_one_output(self):
    bad = lambda feat: outputs.MSE(feat['state'])
    refused('outputs: promised a dict by name, got a MSE', self.decode, bad)


class Joint:
  """Independent parts of one shape each."""

  def __init__(self, lead, **changes):
    self.lead = lead
    vars(self).update(changes)

  def sample(self, key):
    return {
      'button': jnp.zeros(self.lead, jnp.int32),
      'force': jnp.zeros((*self.lead, 2)),
    }

  def pred(self):
    return self.sample(None)

  def logp(self, action):
    return jnp.zeros(self.lead)

  def entropy(self):
    return {k: jnp.zeros(self.lead) for k in ACTIONS}


BAD_JOINTS = {
  'no entropy': (
    lambda lead: {'entropy': None},
    'a Joint with entropy',
  ),
  'kept axis of logp': (
    lambda lead: {'logp': lambda action: jnp.zeros((*lead, 1))},
    'promised (2,) of floats, got (2, 1) float32',
  ),
  'entropy not by key': (
    lambda lead: {'entropy': lambda: jnp.zeros(lead)},
    'promised a dict by name, got (2,) float32',
  ),
  'sample as float': (
    lambda lead: {
      'sample': lambda key: Joint(lead).pred() | {'button': jnp.zeros(lead)}
    },
    "['button']: promised (2,) int32, got (2,) float32",
  ),
  'sample one-hot': (
    lambda lead: {
      'sample': lambda key: (
        Joint(lead).pred() | {'button': jnp.zeros((*lead, 3), jnp.int32)}
      )
    },
    "['button']: promised (2,) int32, got (2, 3) int32",
  ),
  'pred without a key': (
    lambda lead: {'pred': lambda: {'force': jnp.zeros((*lead, 2))}},
    'promised the keys button, force, got the keys force',
  ),
}


class TestPolicy:
  def check(self, policy):
    checks.check_policy(policy, FEAT, OBS, ACTIONS, FLOAT, PATH)

  def test_joint_is_taken(self):
    lead = lambda feat: feat['state'].shape[:-1]
    self.check(lambda feat, *, given, mask: Joint(lead(feat)))

  def test_returns_outputs_by_key(self):
    text = 'a Joint with sample, pred, logp, entropy, got the keys'
    refused(text, self.check, lambda feat, *, given, mask: dict(feat))

  @pytest.mark.parametrize('mistake', BAD_JOINTS)
  def test_mistake_is_named(self, mistake):
    changes, text = BAD_JOINTS[mistake]

    def policy(feat, *, given, mask):
      lead = feat['state'].shape[:-1]
      return Joint(lead, **changes(lead))

    refused(text, self.check, policy)

  def test_masks_and_labels_are_given(self):
    space = OBS | {
      'label/goal': gs.Discrete(2),
      'mask/button': gs.Box(0, 1, (3,), np.float32),
      'log/score': gs.Box(0, 1, (), np.float32),
    }
    found = []

    def policy(feat, *, given, mask):
      found.append((given['label/goal'].shape, mask['button'].shape))
      assert set(given) == {'label/goal'} and mask['button'].dtype == bool
      return Joint(feat['state'].shape[:-1])

    checks.check_policy(policy, FEAT, space, ACTIONS, FLOAT, PATH)
    assert found == [((2,), (2, 3)), ((2, 3), (2, 3, 3))]


def world():
  made = dynamics({})
  return contracts.World(None, made, None, None, None, None)


def seen():
  return checks.check_dynamics(world().dynamics, 5, ACTIONS, FLOAT, PATH)


class Behavior:
  """Acts by zeros, and learns nothing."""

  signals = ('surprise',)

  def __init__(self, **changes):
    self.extra_space = {'plan': jax.ShapeDtypeStruct((2,), FLOAT)}
    vars(self).update(changes)

  def initial(self, batch_size):
    return {'count': jnp.zeros(batch_size, jnp.int32)}

  def act(self, world, carry, feat, memory, obs, key, mode):
    rows = obs['is_first'].shape
    plan = jnp.zeros((*rows, 2))
    return Joint(rows).pred(), {'count': memory['count'] + 1}, {'plan': plan}

  def losses(self, replayed, rewards, key, update):
    reward = replayed.steps['reward']
    surprise = replayed.observed.feat['state'].mean(-1)
    assert replayed.steps['acting/plan'].shape == (*reward.shape, 2)
    return {'policy': reward[:, 1:]}, {'x': 0.5}, {'surprise': surprise}


def acting(change):
  base = Behavior().act
  return {'act': lambda *args: change(*base(*args))}


BAD_BEHAVIORS = {
  'two results': (
    acting(lambda action, memory, extra: (action, memory)),
    "`act` in mode 'sample': promised the tuple (action, memory, extra)",
  ),
  'memory of another structure': (
    acting(lambda action, memory, extra: (action, memory['count'], extra)),
    "memory of `act` in mode 'sample': promised the structure of `initial`",
  ),
  'memory in another format': (
    acting(
      lambda action, memory, extra: (action, {'count': extra['plan']}, extra)
    ),
    "['count']: promised (2,) int32 as `initial`, got (2, 2) float32",
  ),
  'memory without rows': (
    {'initial': lambda rows: {'count': jnp.zeros(())}},
    "`initial(2)`['count']: promised an array (2, ...), got () float32",
  ),
  'extra is left out': (
    acting(lambda action, memory, extra: (action, memory, {})),
    "extra of `act` in mode 'sample': promised the keys plan, got no keys",
  ),
  'extra of another shape': (
    acting(
      lambda action, memory, extra: (action, memory, {'plan': memory['count']})
    ),
    "extra['plan'] of `act` in mode 'sample': promised (2, 2) float32",
  ),
  'action of another format': (
    acting(
      lambda action, memory, extra: (
        action | {'button': jnp.zeros((2, 3))},
        memory,
        extra,
      )
    ),
    "['button']: promised (2,) int32, got (2, 3) float32",
  ),
  'two results of losses': (
    {'losses': lambda *args: ({}, {})},
    '`losses`: promised the tuple (losses, metrics, signals)',
  ),
  'metrics of steps': (
    {'losses': lambda *args: ({}, {'x': jnp.zeros(3)}, {})},
    "metric 'x' of `losses`: promised (), got (3,) float32",
  ),
  'losses as integers': (
    {'losses': lambda *args: ({'x': jnp.zeros(3, int)}, {}, {})},
    "loss 'x' of `losses`: promised (3,) of floats, got (3,) int32",
  ),
  'signals of rows': (
    {'losses': lambda *args: ({}, {}, {'surprise': jnp.zeros(2)})},
    "signal 'surprise' of `losses`: promised (2, 3) of floats, got (2,)",
  ),
  'signals that are not named': (
    {'losses': lambda *args: ({}, {}, {'other': jnp.zeros((2, 3))})},
    'signals of `losses`: promised the keys surprise, got the keys other',
  ),
  'signals as one name': (
    {'signals': 'surprise'},
    "signals: promised a tuple of names, got 'surprise'",
  ),
  'extra space of shapes': (
    {'extra_space': {'plan': (2,)}},
    "extra_space['plan']: promised a jax.ShapeDtypeStruct",
  ),
}


class TestBehavior:
  def check(self, behavior):
    args = world(), seen(), OBS, ACTIONS, PATH
    checks.check_behavior(behavior, *args)

  def test_behavior_is_taken(self):
    self.check(Behavior())

  @pytest.mark.parametrize('mistake', BAD_BEHAVIORS)
  def test_mistake_is_named(self, mistake):
    changes, text = BAD_BEHAVIORS[mistake]
    refused(text, self.check, Behavior(**changes))

  def test_mode_is_checked_too(self):
    def act(*args):
      action, memory, extra = Behavior().act(*args)
      return (action, memory, extra) if args[-1] == 'sample' else action

    refused("`act` in mode 'mode'", self.check, Behavior(act=act))


class Objective:
  scale = 1.0

  def __init__(self, losses=None, **changes):
    self._losses = losses
    vars(self).update(changes)

  def losses(self, replayed, key, update):
    reward = replayed.steps['reward']
    if self._losses is not None:
      return self._losses(reward)
    return {'steps': reward, 'all': reward.mean()}, {'x': reward.mean()}


def rewarding(reward):
  return {'reward': lambda world, dream, key: reward(dream)}


BAD_OBJECTIVES = {
  'losses of rows': (
    {'losses': lambda x: ({'x': x[:, 0]}, {})},
    "loss 'x' of `losses`: promised (2, 3) of floats, got (2,) float32",
  ),
  'losses alone': (
    {'losses': lambda x: {'x': x}},
    'the tuple (losses, metrics)',
  ),
  'metrics of steps': (
    {'losses': lambda x: ({}, {'x': x})},
    "metric 'x' of `losses`: promised (), got (2, 3) float32",
  ),
  'reward without the start': (
    rewarding(lambda dream: dream.reward[:, 1:]),
    '`reward` of a dream: promised (4, 3) of floats, got (4, 2) float32',
  ),
  'reward with an axis': (
    rewarding(lambda dream: dream.reward[..., None]),
    '`reward` of a dream: promised (4, 3) of floats, got (4, 3, 1)',
  ),
  'scale is a name': (
    {'scale': 'much'},
    "scale: promised a number, got 'much'",
  ),
}


class TestObjective:
  def check(self, objective):
    args = world(), seen(), OBS, ACTIONS, PATH
    checks.check_objective(objective, 'mine', *args)

  def test_objective_is_taken(self):
    self.check(Objective())
    self.check(Objective(**rewarding(lambda dream: dream.cont)))

  @pytest.mark.parametrize('mistake', BAD_OBJECTIVES)
  def test_mistake_is_named(self, mistake):
    changes, text = BAD_OBJECTIVES[mistake]
    refused(text, self.check, Objective(**changes))


class TestWeighting:
  def check(self, weigh):
    scales = {'a': 1.0, 'b': 2.0, 'c': 0.0}
    checks.check_weighting(weigh, scales, PATH)

  def test_weighting_is_taken(self):
    self.check(
      lambda losses, scales: {k: scales[k] * losses[k] for k in losses}
    )

  def test_name_is_dropped(self):
    bad = lambda losses, scales: {'a': losses['a'], 'b': losses['b']}
    text = 'promised the keys a, b, c, got the keys a, b'
    refused(text, self.check, bad)

  def test_name_is_added(self):
    bad = lambda losses, scales: losses | {'extra': losses['a']}
    refused('got the keys a, b, c, extra', self.check, bad)

  def test_shape_is_changed(self):
    bad = lambda losses, scales: {k: x.mean() for k, x in losses.items()}
    text = "the scaled loss 'a': promised (2, 3) of floats, got () float32"
    refused(text, self.check, bad)


class TestAugmentation:
  def check(self, augment):
    checks.check_augmentation(augment, OBS, PATH)

  def test_augmentation_is_taken(self):
    self.check(lambda inputs, key: inputs)

  def test_shape_is_changed(self):
    bad = lambda inputs, key: inputs | {'image': inputs['image'][..., 1:, :, :]}
    text = "'image': promised (2, 3, 4, 4, 3) uint8, got (2, 3, 3, 4, 3) uint8"
    refused(text, self.check, bad)

  def test_format_is_changed(self):
    bad = lambda inputs, key: inputs | {'image': inputs['image'] / 255}
    refused('got (2, 3, 4, 4, 3) float32', self.check, bad)

  def test_key_is_dropped(self):
    bad = lambda inputs, key: {'image': inputs['image']}
    text = 'promised the keys image, position, got the keys image'
    refused(text, self.check, bad)


class TestOptimizer:
  def test_optimizers_are_taken(self):
    made = parts.component('optimizer')()
    checks.check_optimizer(made, {}, PATH)

  def test_updates_of_another_shape(self):
    class Bad:
      init = staticmethod(lambda params: ())
      update = staticmethod(
        lambda grads, state, params: (
          {k: x.sum() for k, x in grads.items()},
          state,
        )
      )

    text = "updates of `update`['layer/bias']: promised (3,) float32"
    refused(text, checks.check_optimizer, Bad(), {}, PATH)

  def test_state_of_another_structure(self):
    class Bad:
      init = staticmethod(lambda params: ())
      update = staticmethod(lambda grads, state, params: (grads, params))

    text = 'state of `update`: promised the structure of `init`'
    refused(text, checks.check_optimizer, Bad(), {}, PATH)

  def test_updates_alone(self):
    class Bad:
      init = staticmethod(lambda params: ())
      update = staticmethod(lambda grads, state, params: grads)

    text = 'the tuple (updates, state)'
    refused(text, checks.check_optimizer, Bad(), {}, PATH)


class TestNormalizer:
  def test_normalizer_is_taken(self):
    checks.check_normalizer(parts.component('normalizer')(), PATH)

  def test_stats_of_every_value(self):
    class Bad:
      update = staticmethod(lambda x: None)
      stats = staticmethod(lambda: (jnp.zeros(3), 1.0))

    text = 'offset of `stats`: promised () of floats, got (3,) float32'
    refused(text, checks.check_normalizer, Bad(), PATH)

  def test_one_number(self):
    class Bad:
      update = staticmethod(lambda x: None)
      stats = staticmethod(lambda: 1.0)

    text = '`stats`: promised the tuple (offset, scale), got 1.0'
    refused(text, checks.check_normalizer, Bad(), PATH)
