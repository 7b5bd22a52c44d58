"""Bytes to commands, frames to bytes: the ways a client's connection comes in.

May import delivery, services, the hub and what is below. Never knows what a frame means: that is
its surface's. Two WebSocket gateways stand beside each other, one past ASGI for speed and one on
plain ASGI for apps that mount Madang, over the same `Connection` and `Entrance`.
"""
