return position()
