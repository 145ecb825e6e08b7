"""The application server: HTTP in front, the event log behind, the model in a process of its own."""

from tfrec_llm.serving.server.app import make_app, run_server, serve
from tfrec_llm.serving.server.parts import Parts, compose

__all__ = ["Parts", "compose", "make_app", "run_server", "serve"]
