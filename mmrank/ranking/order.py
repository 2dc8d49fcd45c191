"""The order of candidates under several tasks: a formula over outputs, parsed and never executed.

    click^0.3 * purchase^0.7        (click + 2 * purchase) * dwell^0.1        click + 5 * purchase

A formula has only names of tasks, numbers, + - * / ^ and brackets; ^ is a power. For a product of
names, positive numbers, powers and sums of these, the score is the logarithm of the formula: the
order is the same, and probabilities of one in a billion neither underflow nor tie. For any other
formula, such as a sum, the score is the value itself.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Collection, Mapping

import tensorflow as tf

from mmrank.schema import did_you_mean

EXAMPLE = "write it like click^0.3 * purchase^0.7"
LONGEST = 1000
_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)


@dataclasses.dataclass(frozen=True)
class Order:
    """A formula over the outputs of tasks.

    Attributes:
      text: As it was written.
      tasks: Names of the tasks in it.

    Example:
      >>> parse_order("click + 2 * purchase", ["click", "purchase", "dwell"]).tasks
      ('click', 'purchase')
    """

    text: str
    tasks: tuple[str, ...]
    _tree: ast.expr = dataclasses.field(repr=False, compare=False)

    def scores(self, logs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Scores of candidates, of the outputs' shape.

        Args:
          logs: For each task, the natural logarithm of its output: a probability, seconds, or
            another value above 0; all of one shape, such as [B, L].
        """
        tree = self._tree
        is_sum = isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add)
        return _log(tree, logs) if _positive(tree) and not is_sum else _value(tree, logs)


def parse_order(text: str, tasks: Collection[str]) -> Order:
    """The order that a formula describes.

    Args:
      text: The formula.
      tasks: Names that the formula may contain.

    Raises:
      ValueError: The text is not a formula, names no task or an unknown one, contains anything
        besides names, numbers, + - * / ^ and brackets, or has no value for some outputs.

    Example:
      >>> import tensorflow as tf
      >>> order = parse_order("click^0.5 * purchase", ["click", "purchase"])
      >>> logs = {"click": tf.math.log([0.25]), "purchase": tf.math.log([0.5])}
      >>> order.scores(logs).numpy().round(4)  # ln(0.25) / 2 + ln(0.5)
      array([-1.3863], dtype=float32)
      >>> parse_order("clik * purchase", ["click", "purchase"])
      Traceback (most recent call last):
      ValueError: ...did you mean 'click'?
    """
    where = f"order {text!r}"
    if not isinstance(text, str) or "**" in text or len(text) > LONGEST:
        raise ValueError(f"{where}: not a formula; {EXAMPLE}")
    try:
        # Python's power has the right precedence. The text is parsed, never compiled or run.
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{where}: not a formula; {EXAMPLE}") from error
    names: dict[str, None] = {}
    try:
        _check(tree, where, tasks, names)
    except (OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"{where}: its numbers have no finite value") from error
    if not names:
        raise ValueError(f"{where}: contains no task; known: {', '.join(tasks)}")
    return Order(text, tuple(names), tree)


def _check(node: ast.expr, where: str, tasks: Collection[str], names: dict[str, None]) -> None:
    if isinstance(node, ast.Name):
        if node.id not in tasks:
            raise ValueError(f"{where}: unknown task {node.id!r}{did_you_mean(node.id, tasks)}")
        names[node.id] = None
    elif isinstance(node, ast.Constant):
        number = node.value
        real = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not real or not math.isfinite(number):  # type: ignore[arg-type]
            raise ValueError(f"{where}: {number!r} is not a finite number")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check(node.operand, where, tasks, names)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, _BINARY):
        _check(node.left, where, tasks, names)
        _check(node.right, where, tasks, names)
        _check_defined(node, where)
    else:
        raise ValueError(
            f"{where}: {ast.unparse(node)!r} is not allowed; use names of tasks, numbers, "
            "+ - * / ^ and brackets"
        )


def _check_defined(node: ast.BinOp, where: str) -> None:
    """Raises ValueError unless a power or a quotient has a value for all outputs."""
    if isinstance(node.op, ast.Div) and not _positive(node.right):
        divisor = _number(node.right)
        if divisor is None or divisor == 0:
            raise ValueError(f"{where}: divides by {ast.unparse(node.right)!r}, which may be 0")
    if isinstance(node.op, ast.Pow):
        exponent = _number(node.right)
        if exponent is None:
            raise ValueError(
                f"{where}: an exponent must be a number, not {ast.unparse(node.right)!r}"
            )
        if not _positive(node.left) and (exponent < 0 or exponent % 1):
            raise ValueError(
                f"{where}: {ast.unparse(node.left)!r} may be negative, which needs a whole "
                "exponent of at least 0"
            )


def _number(node: ast.expr) -> float | None:
    """The value of an expression without names; None for one with names."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        operand = _number(node.operand)
        return None if operand is None else -operand
    if isinstance(node, ast.BinOp):
        left, right = _number(node.left), _number(node.right)
        if left is None or right is None:
            return None
        return float(_plain(node.op, left, right))
    return None


def _positive(node: ast.expr) -> bool:
    """Whether an expression is above 0 for all outputs, so that it has a logarithm."""
    number = _number(node)
    if number is not None:
        return number > 0
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Pow):
            return _positive(node.left)
        return not isinstance(node.op, ast.Sub) and _positive(node.left) and _positive(node.right)
    return isinstance(node, ast.Name)


def _log(node: ast.expr, logs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The logarithm of a positive expression."""
    number = _number(node)
    if number is not None:
        return tf.constant(math.log(number), tf.float32)
    if isinstance(node, ast.Name):
        return logs[node.id]
    assert isinstance(node, ast.BinOp)
    left = _log(node.left, logs)
    if isinstance(node.op, ast.Pow):
        return left * _number(node.right)
    right = _log(node.right, logs)
    if isinstance(node.op, ast.Add):
        larger, smaller = tf.maximum(left, right), tf.minimum(left, right)
        return larger + tf.math.softplus(smaller - larger)
    return left + right if isinstance(node.op, ast.Mult) else left - right


def _value(node: ast.expr, logs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The value of an expression."""
    number = _number(node)
    if number is not None:
        return tf.constant(number, tf.float32)
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, logs)
    if isinstance(node, ast.Name):
        return tf.exp(logs[node.id])
    assert isinstance(node, ast.BinOp)
    return _plain(node.op, _value(node.left, logs), _value(node.right, logs))


def _plain(operator: ast.operator, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    return left / right if isinstance(operator, ast.Div) else left**right
