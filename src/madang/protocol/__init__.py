"""What stands on the wire: frames, codes, cursors and the WebSocket codec.

May import nothing of Madang but itself and ``madang.model``; the client package is built on it.
Never does I/O, never asks for the time, never knows a framework.
"""
