"""Response models that the default one is compared with; they are fitted and judged, and drive no environment."""
