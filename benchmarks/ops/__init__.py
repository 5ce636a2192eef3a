"""How well the platform runs by itself: what the gate keeps out, what a kill costs, what comes back."""
