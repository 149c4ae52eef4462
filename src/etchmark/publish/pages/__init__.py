"""Static pages of models and boards with their badges, for any web server."""
