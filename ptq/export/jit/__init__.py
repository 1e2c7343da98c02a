"""The portable format: a PIR program in plain operations."""
