"""Live rooms: joined with a code and a nickname; chat, questions, polls and a host.

`door` lets people in, `session` carries their frames to the services, `frames` words what the log
tells them, `rest` answers the rest of the contract, and `attendance` and `upkeep` write down what
nobody asks for: who came and went, counts that wait to be told, rooms whose time is over.
"""
