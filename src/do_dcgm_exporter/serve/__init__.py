"""Answer HTTP requests with the newest page."""
