"""Tokens: one sandboxed worker process per loaded model, and the gateway's side of it.

The gateway imports ``supervisor``, ``protocol``, ``sampling`` and ``templates``; none of them touches llama.cpp. The
worker imports ``weights`` and ``llama``, the only modules that do.
"""
