"""Show people at ``/`` what the newest page means.

It is drawn on request, from the publication alone: the engine is not asked, and nothing waits.
"""
