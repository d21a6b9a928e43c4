"""The array shapes a mechanism's signature speaks of. Nothing else.

`Parameter` arrives as ``[patient, 1]`` or ``[]`` and broadcasts along records. All arrays are
float64. Aliases, because a linter reads a shape inside an annotation as a name.
"""

from __future__ import annotations

from jaxtyping import Array, Float

PerRecord = Float[Array, "patient time"]
PerDose = Float[Array, "patient dose"]
Parameter = Float[Array, "*#patient"]
Elementwise = Float[Array, "*patient"]
"""What a derived quantity gives back: the broadcast shape of its parameters."""
