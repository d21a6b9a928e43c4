"""Laws: a table of every mechanism under every option, and the invariants all of them keep."""
