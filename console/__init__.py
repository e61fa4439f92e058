"""Shows what the collectors recorded and judged. Changes nothing."""
