"""The runner of installed attention libraries; see bench_backends.py beside this folder.

Pure Python at import: `wire`, `problem`, `registry`, `session`. With torch, once a library is asked for: `inputs`, `reference`,
`device`, `timing` and the adapters, one file per library.
"""
