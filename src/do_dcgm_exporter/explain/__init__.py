"""Turn the state behind a page into sentences that say what is wrong."""
