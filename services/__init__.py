"""The BentoML service and the request pipeline, as plain classes behind it."""
