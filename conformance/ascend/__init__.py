"""Everything that touches the vendor's tools: find them, drive them, believe only their files."""
