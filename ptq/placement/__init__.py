"""Which tensors get a grid."""
