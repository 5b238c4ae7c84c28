"""The generated tasks."""

from typing import Literal

TinyTask = Literal["TinyMath", "TinyChoice", "TinyCode"]
