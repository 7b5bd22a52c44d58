"""Agents: what answers people in sessions, and the node's part in it.

`protocol` is what an agent is; `echo`, `openai_agent` and `http_agent` are some; `tools` answers
what a model calls; `catalog` says which are on offer; `runner` runs them. May import
delivery (to tell what they say), services and what is below. Never speaks to a client: surfaces do.
"""
