deb:
	debian/build
