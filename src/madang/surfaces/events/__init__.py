"""The event log itself: publish once, delivered to whoever comes back."""
