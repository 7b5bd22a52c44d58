"""The reads, as plain functions of a connection: one query a page, and each names the org.

They run on a reader's connection and see one moment of the database.
"""
