"""The Model Context Protocol: four tools for agents, over HTTP at /mcp. Off unless it is asked for.

It needs the package `mcp` (requirements-mcp.txt), which nothing else imports.

An agent brings a program's token with a guest's rights. No tool takes a path or an address: pictures travel as base64,
or are the ids of its own.
"""
