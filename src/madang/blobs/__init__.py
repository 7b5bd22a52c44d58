"""The bytes of files: a folder or a bucket that keeps them, and thumbnails of pictures among them.

Implementations of `ports.blobs.Blobs`, and a process of its own that reads pictures, so that none
of them can harm the server. May import ports, clock, settings and what is below; it knows neither
store nor hub, and nothing of who may have what.
"""
