"""The one door: HTTP for every front end, over TCP, a Unix socket, or inside the process.

Who is asking is decided once, in ``door.py``; what they may do, once, in ``authorise.py``; how an error looks, once, in
``responses.py``. Everything else is routes.
"""
