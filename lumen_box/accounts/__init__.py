"""Who may use the box. So far: API tokens."""
