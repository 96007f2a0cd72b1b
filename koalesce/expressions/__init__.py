"""`${{ path }}`: paths into what a step may know; or CEL, where it is installed. No template language, no evaluation of code."""

from koalesce.expressions.evaluate import ExpressionError, evaluate, resolve
from koalesce.expressions.syntax import (
    EVERY,
    Every,
    Expression,
    Segment,
    SyntaxProblem,
    check,
    find_expressions,
    has_expression,
    parse,
    paths_of,
    whole,
)

__all__ = [
    "EVERY",
    "Every",
    "Expression",
    "ExpressionError",
    "Segment",
    "SyntaxProblem",
    "check",
    "evaluate",
    "find_expressions",
    "has_expression",
    "parse",
    "paths_of",
    "resolve",
    "whole",
]
