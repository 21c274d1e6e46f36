"""`fmkit accuracy`: predictions held against measurements, published ones and one's own."""
