"""The page at ``/``: what the newest page means, for people.

It is drawn when somebody asks for it, from the publication alone: the engine is never asked
and nothing is waited for.

``view`` is all that is shown at one moment; ``diagnosis``, ``gpu_findings`` and ``findings``
say in words what is wrong, ``data_path`` where the data stops; ``document`` and the tables make
HTML of it, and ``page`` answers requests.
"""
