"""What each finding is and what is to be done about it: pure functions."""
