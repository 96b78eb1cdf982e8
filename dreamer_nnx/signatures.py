"""Keyword arguments that several functions take, declared once."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from dreamer_nnx import meanings, sizes

Function = TypeVar('Function', bound=Callable[..., Any])
KEYWORD = inspect.Parameter.KEYWORD_ONLY
VARIADIC = inspect.Parameter.VAR_KEYWORD


def takes(inner: Callable[..., Any]) -> Callable[[Function], Function]:
  """Declares that **kwargs are keyword arguments of `inner`, passed on to it.

  They stand in the signature of the function decorated, with their defaults
  and limits, in place of **kwargs; and so in the config of a builder. What size
  presets set in `inner` they set there, too. They mean what they mean there.

    @HEAD.register('huber')
    @takes(Projection)
    def huber(input_size, space, *, eps: Epsilon = 1.0, **projection): ...

  Args:
    inner: A function or class. Of its arguments those are not taken that the
      function decorated names itself, perhaps with another default.
  """
  source = inner.__init__ if inspect.isclass(inner) else inner
  parameters = inspect.signature(source, eval_str=True).parameters.values()
  taken = [parameter for parameter in parameters if parameter.kind is KEYWORD]

  def declare(outer: Function) -> Function:
    signature = inspect.signature(outer)
    named = [p for p in signature.parameters.values() if p.kind is not VARIADIC]
    names = {parameter.name for parameter in named}
    more = [parameter for parameter in taken if parameter.name not in names]
    outer.__signature__ = signature.replace(parameters=[*named, *more])
    outer.__annotations__ |= {p.name: p.annotation for p in more}
    meanings.pass_on(outer, inner)
    taken_sizes = sizes.declared(inner).items()
    outer.sizes = {
      size: {name: values[name] for name in values if name not in names}
      for size, values in taken_sizes
    }
    return outer

  return declare
