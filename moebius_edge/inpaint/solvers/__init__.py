"""Solvers: how the loop gets from noise to a picture. One module here is one solver; nothing lists them.

A solver is a table of coefficients (`moebius_edge.inpaint.solving.table`) that every language and device
executes alike (docs/loop.md, steps 8 and 10), so a new one is a module in this folder and a paragraph in the
documents: no loop changes. `moebius_edge.inpaint.known_solvers` finds it.
"""
