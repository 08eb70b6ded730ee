"""Owns which event loops the step before connections is tested on: its sockets are taken over by the loop."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    """Both: an edge runs on uvloop, and its tests on asyncio's own."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
