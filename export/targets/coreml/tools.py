"""What this target uses of coremltools, whose first import says much about parts that only macOS has."""

from moebius_edge.common.silence import silenced_coremltools

with silenced_coremltools():
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, Var, types
    from coremltools.converters.mil.mil.types import builtin_to_string

__all__ = ["Function", "Program", "Var", "builtin_to_string", "ct", "cto", "mb", "types"]
