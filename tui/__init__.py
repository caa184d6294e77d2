"""Top floor: the full-screen face. May import `inspector` and the readers' face only."""
