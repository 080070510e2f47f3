"""The stream topology on Apache Storm, by Flux and multilang."""
