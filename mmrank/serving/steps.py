"""Work as a generator of steps, so that the caller decides how to wait for TensorFlow and Redis.

`finish` runs the steps one after another on the calling thread. A server calls `advance` and awaits
each step, so that no thread waits meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

Arrays = dict[str, np.ndarray]
Call = Callable[[str, Arrays], Mapping[str, np.ndarray]]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Run:
    """The step of running a signature; it is answered with the signature's outputs.

    Attributes:
      signature: The signature's name.
      arrays: Its inputs by name.
    """

    signature: str
    arrays: Arrays


@dataclasses.dataclass(frozen=True)
class Fetch:
    """The step of calling a function that waits for another process; answered with its result.

    Attributes:
      function: Takes no arguments, and may be called on any thread.
    """

    function: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Done(Generic[T]):
    """The end of all steps.

    Attributes:
      result: Their result.
    """

    result: T


Step = Run | Fetch
Steps = Generator[Step, Any, T]


def at_hand(result: T) -> Steps[T]:
    """Returns a result that takes no step."""
    yield from ()
    return result


def advance(steps: Steps[T], answer: Any = None) -> Step | Done[T]:
    """Returns the next step, or the result.

    Args:
      steps: The work.
      answer: The answer to the step before; None at the beginning.
    """
    try:
        return steps.send(answer)
    except StopIteration as end:
        return Done(end.value)


def finish(steps: Steps[T], call: Call) -> T:
    """Returns the result of some work; runs all steps on this thread.

    Args:
      steps: The work.
      call: Runs a signature by name.
    """
    step = advance(steps)
    while not isinstance(step, Done):
        if isinstance(step, Run):
            step = advance(steps, call(step.signature, step.arrays))
        else:
            step = advance(steps, step.function())
    return step.result
