"""Post each new page to the endpoint."""
