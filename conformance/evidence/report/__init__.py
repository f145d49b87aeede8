"""One HTML file from a bundle, for a reader with two minutes; looks at nothing but the bundle."""
